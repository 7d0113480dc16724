use std::net::IpAddr;

use proptest::prelude::*;
use rstest::rstest;

use super::*;

/// The proxies of these tests: 10.0.0.0/8, and a whole IPv6 range.
fn forwarding(header: ForwardedHeader) -> Forwarding {
    let trusted = ["10.0.0.0/8", "2001:db8:aaaa::/48"];
    let trusted = trusted.map(|text| text.parse().expect("a range"));
    Forwarding::new(trusted.to_vec(), header)
}

fn check(header: ForwardedHeader, peer: &str, lines: &[&str], client: &str) {
    let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
    let peer: IpAddr = peer.parse().expect("an address");
    let found = forwarding(header).client(peer, &lines);
    assert_eq!(found, client.parse::<IpAddr>().expect("an address"));
}

const PROXY: &str = "10.0.0.1";

#[rstest]
#[case::no_proxy("198.51.100.7", &[], "198.51.100.7")]
#[case::untrusted_peer_speaks("198.51.100.7", &["203.0.113.9"], "198.51.100.7")]
#[case::untrusted_peer_names_a_proxy("198.51.100.7", &["10.0.0.9"], "198.51.100.7")]
#[case::proxy_says_nothing(PROXY, &[], PROXY)]
#[case::one_hop(PROXY, &["203.0.113.9"], "203.0.113.9")]
#[case::spoofed_before(PROXY, &["1.1.1.1, 203.0.113.9"], "203.0.113.9")]
#[case::spoofed_proxy_before(PROXY, &["10.9.9.9, 203.0.113.9"], "203.0.113.9")]
#[case::two_proxies(PROXY, &["203.0.113.9, 10.0.0.2"], "203.0.113.9")]
#[case::spoofed_two_proxies(PROXY, &["1.1.1.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9")]
#[case::all_trusted(PROXY, &["10.0.0.3, 10.0.0.2"], "10.0.0.3")]
#[case::lines_in_order(PROXY, &["1.1.1.1", "203.0.113.9"], "203.0.113.9")]
#[case::lines_joined(PROXY, &["1.1.1.1, 203.0.113.9", "10.0.0.2"], "203.0.113.9")]
#[case::own_line_first(PROXY, &["203.0.113.9", "10.0.0.2", "10.0.0.3"], "203.0.113.9")]
#[case::port(PROXY, &["203.0.113.9:4711"], "203.0.113.9")]
#[case::port_too_large(PROXY, &["203.0.113.9:70000"], PROXY)]
#[case::port_of_words(PROXY, &["203.0.113.9:http"], PROXY)]
#[case::port_missing(PROXY, &["203.0.113.9:"], PROXY)]
#[case::six(PROXY, &["2001:db8::7"], "2001:db8::7")]
#[case::six_in_brackets(PROXY, &["[2001:db8::7]"], "2001:db8::7")]
#[case::six_with_port(PROXY, &["[2001:db8::7]:443"], "2001:db8::7")]
#[case::six_open_bracket(PROXY, &["[2001:db8::7"], PROXY)]
#[case::six_with_zone(PROXY, &["fe80::1%eth0"], PROXY)]
#[case::four_in_brackets(PROXY, &["[203.0.113.9]"], PROXY)]
#[case::mapped(PROXY, &["::ffff:203.0.113.9"], "203.0.113.9")]
#[case::mapped_in_brackets(PROXY, &["[::ffff:203.0.113.9]:80"], "203.0.113.9")]
#[case::mapped_proxy(PROXY, &["203.0.113.9, ::ffff:10.0.0.2"], "203.0.113.9")]
#[case::mapped_peer("::ffff:10.0.0.1", &["203.0.113.9"], "203.0.113.9")]
#[case::mapped_stranger("::ffff:198.51.100.7", &["203.0.113.9"], "198.51.100.7")]
#[case::six_proxy("2001:db8:aaaa::1", &["203.0.113.9"], "203.0.113.9")]
#[case::six_stranger("2001:db8:bbbb::1", &["203.0.113.9"], "2001:db8:bbbb::1")]
#[case::garbage(PROXY, &["what?"], PROXY)]
#[case::garbage_last(PROXY, &["1.1.1.1, what?"], PROXY)]
#[case::garbage_before_a_proxy(PROXY, &["1.1.1.1, what?, 10.0.0.2"], "10.0.0.2")]
#[case::garbage_before_the_client(PROXY, &["what?, 203.0.113.9"], "203.0.113.9")]
#[case::unknown(PROXY, &["1.1.1.1, unknown"], PROXY)]
#[case::hidden(PROXY, &["1.1.1.1, _hidden"], PROXY)]
#[case::empty(PROXY, &[""], PROXY)]
#[case::empty_last(PROXY, &["1.1.1.1,"], PROXY)]
#[case::blanks(PROXY, &[" \t203.0.113.9 \t"], "203.0.113.9")]
#[case::no_blank(PROXY, &["1.1.1.1,203.0.113.9"], "203.0.113.9")]
#[case::octal(PROXY, &["1.1.1.1, 0203.0.113.9"], PROXY)]
#[case::short_form(PROXY, &["1.1.1.1, 203.9"], PROXY)]
#[case::number(PROXY, &["1.1.1.1, 3405803785"], PROXY)]
#[case::quoted(PROXY, &["1.1.1.1, \"203.0.113.9\""], PROXY)]
#[case::nul(PROXY, &["1.1.1.1, 203.0.113.9\0"], PROXY)]
#[case::foreign_letters(PROXY, &["1.1.1.1, ２０３.0.113.9"], PROXY)]
#[case::the_other_header(PROXY, &["for=203.0.113.9"], PROXY)]
fn x_forwarded_for_is_read_from_its_end(
    #[case] peer: &str,
    #[case] lines: &[&str],
    #[case] client: &str,
) {
    check(ForwardedHeader::XForwardedFor, peer, lines, client);
}

#[rstest]
#[case::stranger("198.51.100.7", &["for=203.0.113.9"], "198.51.100.7")]
#[case::one_hop(PROXY, &["for=203.0.113.9"], "203.0.113.9")]
#[case::more_pairs(PROXY, &["proto=https;For=203.0.113.9;by=10.0.0.1"], "203.0.113.9")]
#[case::spoofed(PROXY, &["for=1.1.1.1, for=203.0.113.9"], "203.0.113.9")]
#[case::two_proxies(PROXY, &["for=203.0.113.9, for=10.0.0.2"], "203.0.113.9")]
#[case::lines(PROXY, &["for=1.1.1.1", "for=203.0.113.9;proto=http"], "203.0.113.9")]
#[case::quoted(PROXY, &["for=\"203.0.113.9:4711\""], "203.0.113.9")]
#[case::six(PROXY, &["for=\"[2001:db8::7]:4711\""], "2001:db8::7")]
#[case::six_bare(PROXY, &["for=\"[2001:db8::7]\""], "2001:db8::7")]
#[case::secret_port(PROXY, &["for=\"[2001:db8::7]:_p7\""], "2001:db8::7")]
#[case::escaped(PROXY, &["for=\"203.0.113\\.9\""], "203.0.113.9")]
#[case::hidden(PROXY, &["for=1.1.1.1, for=_hidden"], PROXY)]
#[case::secret(PROXY, &["for=1.1.1.1, for=\"_SEVKISEK\""], PROXY)]
#[case::unknown(PROXY, &["for=1.1.1.1, for=unknown"], PROXY)]
#[case::no_for(PROXY, &["for=1.1.1.1, proto=https"], PROXY)]
#[case::twice(PROXY, &["for=1.1.1.1;for=203.0.113.9"], PROXY)]
#[case::quote_left_open(PROXY, &["for=\"1.1.1.1, for=203.0.113.9"], PROXY)]
#[case::quote_swallows(PROXY, &["for=\"x, for=\"203.0.113.9\""], PROXY)]
#[case::comma_in_quotes(PROXY, &["for=\"1.1.1.1, x\";by=y, for=203.0.113.9"], "203.0.113.9")]
#[case::semicolon_in_quotes(PROXY, &["by=\"a;for=1.1.1.1\";for=203.0.113.9"], "203.0.113.9")]
#[case::text_behind_quotes(PROXY, &["for=\"1.1.1.1\"2"], PROXY)]
#[case::broken_line_of_the_client(PROXY, &["for=\"", "for=203.0.113.9"], "203.0.113.9")]
#[case::broken_line_behind_a_proxy(PROXY, &["for=\"", "for=10.0.0.2"], "10.0.0.2")]
#[case::blank_in_pair(PROXY, &["for = 203.0.113.9"], PROXY)]
#[case::empty(PROXY, &["for=1.1.1.1, "], PROXY)]
#[case::empty_value(PROXY, &["for="], PROXY)]
#[case::the_other_header(PROXY, &["203.0.113.9"], PROXY)]
fn forwarded_is_read_from_its_end(
    #[case] peer: &str,
    #[case] lines: &[&str],
    #[case] client: &str,
) {
    check(ForwardedHeader::Forwarded, peer, lines, client);
}

/// So many hops are looked at, and not one more.
#[test]
fn a_list_is_looked_at_up_to_its_bound() {
    for (proxies, client) in [(HOPS_MOST - 1, "203.0.113.9"), (HOPS_MOST, "10.0.0.2")] {
        let list = "203.0.113.9".to_owned() + &", 10.0.0.2".repeat(proxies);
        check(ForwardedHeader::XForwardedFor, PROXY, &[&list], client);
        let list = "for=203.0.113.9".to_owned() + &", for=10.0.0.2".repeat(proxies);
        check(ForwardedHeader::Forwarded, PROXY, &[&list], client);
    }
    let long = "1".repeat(100_000) + ", 203.0.113.9";
    check(
        ForwardedHeader::XForwardedFor,
        PROXY,
        &[&long],
        "203.0.113.9",
    );
    let long = "by=".to_owned() + &"1".repeat(100_000) + ", for=203.0.113.9";
    check(ForwardedHeader::Forwarded, PROXY, &[&long], PROXY);
}

#[rstest]
#[case("203.0.113.9", "203.0.113.9", true)]
#[case("203.0.113.9", "203.0.113.8", false)]
#[case("203.0.113.9", "::ffff:203.0.113.9", true)]
#[case("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true)]
#[case("2001:db8:1:2::1", "2001:db8:1:3::1", false)]
fn addresses_count_as_one_client_by_their_64_bits(
    #[case] one: &str,
    #[case] other: &str,
    #[case] same: bool,
) {
    let key = |text: &str| AddressKey::from(text.parse::<IpAddr>().expect("an address"));
    assert_eq!(key(one) == key(other), same);
}

proptest! {
    /// Whatever a client sends ahead, of a proxy's own word behind it comes the client's own address, or where the
    /// client has broken the line, the proxy's: never one that the client has made up.
    #[test]
    fn nothing_that_a_client_sends_makes_it_another(
        ahead in proptest::collection::vec(any::<u8>(), 0..200),
        own_line in any::<bool>(),
        header in prop_oneof![Just(ForwardedHeader::XForwardedFor), Just(ForwardedHeader::Forwarded)],
    ) {
        let word: &[u8] = match header {
            ForwardedHeader::XForwardedFor => b"203.0.113.9",
            ForwardedHeader::Forwarded => b"for=203.0.113.9",
        };
        let joined = [&ahead, &b", "[..], word].concat();
        let lines: Vec<&[u8]> = if own_line { vec![&ahead, word] } else { vec![&joined] };
        let proxy: IpAddr = PROXY.parse().expect("an address");
        let client: IpAddr = "203.0.113.9".parse().expect("an address");
        let found = forwarding(header).client(proxy, &lines);
        prop_assert!(found == client || (found == proxy && !own_line), "{found}");
        // A stranger is a stranger, whatever it says.
        let stranger: IpAddr = "198.51.100.7".parse().expect("an address");
        prop_assert_eq!(forwarding(header).client(stranger, &lines), stranger);
    }

    /// The same with texts that look like what proxies write.
    #[test]
    fn nothing_that_looks_right_makes_it_another(
        ahead in "(for=|by=|[\"\\\\;, ]|10\\.0\\.0\\.2|1\\.1\\.1\\.1|\\[::1\\]|:80){0,12}",
        own_line in any::<bool>(),
    ) {
        for (header, word) in [
            (ForwardedHeader::XForwardedFor, "203.0.113.9"),
            (ForwardedHeader::Forwarded, "for=\"203.0.113.9\""),
        ] {
            let joined = format!("{ahead}, {word}");
            let lines: Vec<&[u8]> = if own_line {
                vec![ahead.as_bytes(), word.as_bytes()]
            } else {
                vec![joined.as_bytes()]
            };
            let found = forwarding(header).client(PROXY.parse().expect("an address"), &lines);
            let found = found.to_string();
            prop_assert!(found == "203.0.113.9" || (found == PROXY && !own_line), "{found}");
        }
    }
}
