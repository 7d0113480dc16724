//! The kinds of metrics that a field may have, and the form in which they are declared: a field's doc comment is its HELP.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus::core::Collector;
use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter,
    IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::reasons::Label;

/// Declares a struct of metrics and how it is registered:
///
/// ```text
/// /// HELP, as the one who reads the metric is told.
/// pub closed: Counters<CloseReason> = "sluice_connections_closed_total" by "reason",
/// /// Seconds, in the named buckets.
/// pub duration: Histogram = "sluice_connection_duration_seconds" in AGES,
/// ```
macro_rules! metrics {
    ($(#[$about:meta])* pub struct $group:ident {
        $($(#[doc = $help:literal])+
        pub $field:ident: $kind:ty = $name:literal $(by $($label:literal)&+)? $(in $buckets:ident)?),+ $(,)?
    }) => {
        $(#[$about])*
        #[derive(Clone)]
        pub struct $group { $($(#[doc = $help])+ pub $field: $kind),+ }

        impl $group {
            pub(super) fn register(place: &$crate::metrics::kinds::Place) -> prometheus::Result<$group> {
                Ok($group {
                    $($field: <$kind as $crate::metrics::kinds::Kind>::register(
                        place,
                        &$crate::metrics::kinds::About {
                            name: $name,
                            help: concat!($($help),+).trim(),
                            labels: &[$($($label),+)?],
                            buckets: None::<&[f64]>$(.or(Some(&$buckets)))?.unwrap_or(&[]),
                        },
                    )?),+
                })
            }
        }
    };
}
pub(super) use metrics;

/// What is declared of one metric.
pub struct About {
    pub name: &'static str,
    pub help: &'static str,
    pub labels: &'static [&'static str],
    /// Upper bounds, of a histogram only.
    pub buckets: &'static [f64],
}

impl About {
    fn opts(&self) -> Opts {
        Opts::new(self.name, self.help)
    }

    fn histogram(&self) -> HistogramOpts {
        HistogramOpts::new(self.name, self.help).buckets(self.buckets.to_vec())
    }
}

/// Where metrics are registered, and what is to be read before each scrape.
#[derive(Clone)]
pub struct Place {
    pub registry: Registry,
    readers: Arc<Mutex<Vec<Reader>>>,
}

type Reader = Box<dyn Fn() + Send>;

impl Place {
    pub fn new(registry: &Registry) -> Place {
        Place {
            registry: registry.clone(),
            readers: Arc::default(),
        }
    }

    /// Reads something at each scrape, for figures that somebody else keeps.
    pub fn at_scrape(&self, read: impl Fn() + Send + 'static) {
        lock(&self.readers).push(Box::new(read));
    }

    pub fn read(&self) {
        lock(&self.readers).iter().for_each(|read| read());
    }

    fn add<C: Collector + Clone + 'static>(&self, collector: C) -> prometheus::Result<C> {
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }
}

/// What is behind these locks is whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A kind of metric.
pub trait Kind: Sized {
    /// # Errors
    /// The name is taken, or one that the format cannot carry.
    fn register(place: &Place, about: &About) -> prometheus::Result<Self>;
}

/// A kind of metric that there may be one of for each value of a label.
pub trait Child: Sized {
    /// One for each of these values, in their order.
    ///
    /// # Errors
    /// The name is taken, or one that the format cannot carry.
    fn family(
        place: &Place,
        about: &About,
        values: &[Vec<&'static str>],
    ) -> prometheus::Result<Vec<Self>>;
}

/// The crate's own kinds: from one metric, its family, and how it is described.
macro_rules! kinds {
    ($($one:ty, $family:ty, $opts:ident, $make:ident);+ $(;)?) => { $(
        impl Kind for $one {
            fn register(place: &Place, about: &About) -> prometheus::Result<$one> {
                place.add(<$one>::$make(about.$opts())?)
            }
        }

        impl Child for $one {
            fn family(
                place: &Place,
                about: &About,
                values: &[Vec<&'static str>],
            ) -> prometheus::Result<Vec<$one>> {
                let family = place.add(<$family>::new(about.$opts(), about.labels)?)?;
                values.iter().map(|values| family.get_metric_with_label_values(values)).collect()
            }
        }
    )+ };
}

kinds! {
    IntCounter, IntCounterVec, opts, with_opts;
    IntGauge, IntGaugeVec, opts, with_opts;
    Counter, CounterVec, opts, with_opts;
    Gauge, GaugeVec, opts, with_opts;
    Histogram, HistogramVec, histogram, with_opts;
}

/// A label, or two together.
pub trait Labels: Copy + 'static {
    /// The values, in the order of [`Labels::index`].
    fn all() -> Vec<Vec<&'static str>>;

    fn index(self) -> usize;
}

impl<L: Label> Labels for L {
    fn all() -> Vec<Vec<&'static str>> {
        L::ALL.iter().map(|label| vec![label.as_label()]).collect()
    }

    fn index(self) -> usize {
        Label::index(self)
    }
}

impl<A: Label, B: Label> Labels for (A, B) {
    fn all() -> Vec<Vec<&'static str>> {
        let of = |a: &A| {
            let a = a.as_label();
            B::ALL.iter().map(move |b| vec![a, b.as_label()])
        };
        A::ALL.iter().flat_map(of).collect()
    }

    fn index(self) -> usize {
        self.0.index() * B::ALL.len() + self.1.index()
    }
}

/// One metric per value of a label, found without hashing, all there from the start. Clones share the values.
#[derive(Clone)]
pub struct Family<L, M> {
    /// Shared: each connection holds one.
    by_index: Arc<[M]>,
    labels: PhantomData<L>,
}

pub type Counters<L> = Family<L, IntCounter>;
pub type Gauges<L> = Family<L, IntGauge>;
pub type Histograms<L> = Family<L, Histogram>;

impl<L: Labels, M: Child> Kind for Family<L, M> {
    fn register(place: &Place, about: &About) -> prometheus::Result<Family<L, M>> {
        Ok(Family {
            by_index: M::family(place, about, &L::all())?.into(),
            labels: PhantomData,
        })
    }
}

impl<L: Labels, M> Family<L, M> {
    /// The metric of one label value.
    pub fn of(&self, value: L) -> &M {
        &self.by_index[value.index()]
    }
}

/// A moment, once there is one.
type Moment = Arc<Mutex<Option<Instant>>>;

/// A gauge of how far away a moment is, told at each scrape; 0 for as long as there is none.
fn distance(
    place: &Place,
    about: &About,
    of: impl Fn(Instant) -> Duration + Send + 'static,
) -> prometheus::Result<Moment> {
    let gauge = Gauge::register(place, about)?;
    let moment = Moment::default();
    let told = Arc::clone(&moment);
    place.at_scrape(move || {
        let distance = lock(&told).map(&of);
        gauge.set(distance.unwrap_or_default().as_secs_f64());
    });
    Ok(moment)
}

/// The seconds since something began. Clones share it.
#[derive(Clone)]
pub struct Age(Moment);

impl Age {
    /// Begins to count, again from 0.
    pub fn begin(&self) {
        *lock(&self.0) = Some(Instant::now());
    }
}

impl Kind for Age {
    fn register(place: &Place, about: &About) -> prometheus::Result<Age> {
        distance(place, about, |since| since.elapsed()).map(Age)
    }
}

/// The seconds left until a moment. Clones share it.
#[derive(Clone)]
pub struct Countdown(Moment);

impl Countdown {
    pub fn until(&self, end: Instant) {
        *lock(&self.0) = Some(end);
    }
}

impl Kind for Countdown {
    fn register(place: &Place, about: &About) -> prometheus::Result<Countdown> {
        let left = |end: Instant| end.saturating_duration_since(Instant::now());
        distance(place, about, left).map(Countdown)
    }
}

/// The most of what each of several threads tells. Clones share it.
#[derive(Clone)]
pub struct Peak(Arc<Mutex<Vec<Arc<AtomicU64>>>>);

/// What one thread tells.
pub struct Part(Arc<AtomicU64>);

impl Peak {
    /// One more thread.
    #[must_use]
    pub fn part(&self) -> Part {
        let part = Arc::new(AtomicU64::new(0));
        lock(&self.0).push(Arc::clone(&part));
        Part(part)
    }
}

impl Part {
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

impl Kind for Peak {
    fn register(place: &Place, about: &About) -> prometheus::Result<Peak> {
        let gauge = Gauge::register(place, about)?;
        let peak = Peak(Arc::default());
        let parts = peak.clone();
        place.at_scrape(move || {
            let parts = lock(&parts.0);
            let most = parts.iter().map(|part| part.load(Ordering::Relaxed)).max();
            gauge.set(most.unwrap_or_default() as f64);
        });
        Ok(peak)
    }
}
