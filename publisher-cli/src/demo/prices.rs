//! A price that moves as prices do: many small steps, calm and lively hours, a pull back towards its value, now and then
//! a jump. Pure but for the clock and the dice.

use std::time::Duration;

use rand::Rng;
use tokio::time::{MissedTickBehavior, interval};

use super::Ended;
use super::contract::{self, Price};
use super::outbox::Outbox;

const INTERVAL: Duration = Duration::from_millis(500);
const SYMBOL: &str = "SLCE";
/// What the price comes back to.
const VALUE: f64 = 100.0;
/// The part of the distance to it that one step makes up for.
const PULL: f64 = 0.004;
/// One step's typical size, as a part of the price: at calm times, and at lively ones.
const CALM: f64 = 0.000_5;
const LIVELY: f64 = 0.002_5;
/// How much of the liveliness is kept from step to step.
const INERTIA: f64 = 0.97;
/// How often news comes, and how many typical steps it is worth.
const NEWS: f64 = 0.012;
const NEWS_STEPS: f64 = 6.0;
/// What is believed of a price found in the channel.
const BELIEVED: std::ops::Range<f64> = 20.0..500.0;

/// The price and how lively it is.
struct Walk {
    price: f64,
    step: f64,
}

impl Walk {
    fn from(price: Option<f64>) -> Walk {
        Walk {
            price: price
                .filter(|price| BELIEVED.contains(price))
                .unwrap_or(VALUE),
            step: CALM,
        }
    }

    /// The next price, in whole cents.
    fn next(&mut self, dice: &mut impl Rng) -> f64 {
        let aim = dice.random_range(CALM..LIVELY);
        self.step = INERTIA * self.step + (1.0 - INERTIA) * aim;
        // The sum of a few even dice is close to a bell curve of deviation 1.
        let bell: f64 = (0..12).map(|_| dice.random::<f64>()).sum::<f64>() - 6.0;
        let mut change = bell * self.step + PULL * (VALUE / self.price).ln();
        if dice.random_bool(NEWS) {
            change += NEWS_STEPS * bell.signum() * self.step;
            self.step = LIVELY;
        }
        self.price *= change.exp();
        (self.price * 100.0).round() / 100.0
    }
}

/// Publishes a price twice a second, going on from the last one.
pub async fn publish(outbox: &Outbox, last: Option<f64>) -> Ended {
    let mut walk = Walk::from(last);
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let price = Price {
            symbol: SYMBOL.to_owned(),
            price: walk.next(&mut rand::rng()),
            at: contract::now_ms(),
        };
        outbox.offer(contract::PRICES, "price", &price)?;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    /// A day of it: steps are small, the price wanders and comes back, and it does not stand still.
    #[test]
    fn the_price_moves_as_prices_do() {
        for seed in 0..20 {
            let mut dice = StdRng::seed_from_u64(seed);
            let mut walk = Walk::from(None);
            let (mut last, mut least, mut most, mut still) = (VALUE, VALUE, VALUE, 0);
            let steps = 24 * 3600 * 2;
            for _ in 0..steps {
                let price = walk.next(&mut dice);
                assert!(
                    (price / last - 1.0).abs() < 0.05,
                    "a leap from {last} to {price}"
                );
                still += u32::from(price == last);
                (least, most) = (least.min(price), most.max(price));
                last = price;
            }
            assert!(
                most / least > 1.03,
                "seed {seed}: {least} to {most} in a day"
            );
            assert!(
                least > 60.0 && most < 160.0,
                "seed {seed}: {least} to {most}"
            );
            assert!(still < steps / 5, "seed {seed}: stood still {still} times");
        }
    }

    #[test]
    fn it_goes_on_from_the_last_price_if_that_is_one() {
        let mut dice = StdRng::seed_from_u64(1);
        assert!((Walk::from(Some(140.0)).next(&mut dice) - 140.0).abs() < 5.0);
        for odd in [f64::NAN, f64::INFINITY, -3.0, 0.0, 1e9] {
            assert!(
                (Walk::from(Some(odd)).next(&mut dice) - VALUE).abs() < 5.0,
                "{odd}"
            );
        }
    }
}
