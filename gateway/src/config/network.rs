//! A range of addresses as it is written in a list of trusted proxies.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

/// A range of addresses such as `10.0.0.0/8` or `2001:db8::/32`, or a single address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network(IpNet);

impl Network {
    /// Whether the range has this address; an IPv4 address in its IPv6 form counts as the IPv4 one.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let shape = "write a range such as 10.0.0.0/8 or 2001:db8::/32, or an address";
        let single = text.parse::<IpAddr>().map(IpNet::from);
        let network = single.or_else(|_| text.parse::<IpNet>());
        let network = network.map_err(|_| format!("`{text}` is no range of addresses; {shape}"))?;
        if canonical(network).prefix_len() == 0 {
            return Err(format!(
                "`{text}` trusts everybody, so that any client could name itself as it likes; name the proxies"
            ));
        }
        if network.trunc() != network {
            return Err(format!(
                "`{text}` has bits beyond its prefix; is `{}` meant?",
                network.trunc()
            ));
        }
        Ok(Network(canonical(network)))
    }
}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8`: that is how its addresses are compared.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(six) = network else {
        return network;
    };
    let four = six.addr().to_ipv4_mapped();
    let prefix = six.prefix_len().checked_sub(96);
    match (four, prefix) {
        (Some(address), Some(prefix)) => Ipv4Net::new(address, prefix).map_or(network, IpNet::from),
        (Some(_), None) | (None, _) => network,
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("10.0.0.0/8", "10.0.0.0/8")]
    #[case("10.1.2.3", "10.1.2.3/32")]
    #[case("2001:db8::/32", "2001:db8::/32")]
    #[case("::1", "::1/128")]
    #[case("::ffff:10.0.0.0/104", "10.0.0.0/8")]
    #[case("::ffff:10.1.2.3", "10.1.2.3/32")]
    fn a_range_is_kept_in_its_shortest_form(#[case] text: &str, #[case] kept: &str) {
        assert_eq!(text.parse::<Network>().expect("valid").to_string(), kept);
    }

    #[rstest]
    #[case("10.0.0.1/8", "is `10.0.0.0/8` meant?")]
    #[case("0.0.0.0/0", "trusts everybody")]
    #[case("::/0", "trusts everybody")]
    #[case("::ffff:0:0/96", "trusts everybody")]
    #[case("10.0.0.0/33", "no range")]
    #[case("proxy.example", "no range")]
    #[case("10.0.0.0-10.0.0.9", "no range")]
    fn what_is_no_range_is_refused(#[case] text: &str, #[case] why: &str) {
        let complaint = text.parse::<Network>().expect_err("refused");
        assert!(complaint.contains(why), "{complaint}");
    }
}
