//! The load of a drill: a steady flow of events, each noted with the time before its publishing. It has a thread of its own: the
//! clients are thousands of tasks on one thread, behind which a publisher would wait and so publish less than was asked for.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::{
    runtime::Builder,
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use crate::publisher::Publisher;

use super::{Plan, Published, Sabotage};

/// When each event was handed to Redis, by channel and serial.
pub type Moments = HashMap<(String, u64), Instant>;

/// A running flow; ends when dropped.
pub struct Flow {
    rate: u32,
    from: Instant,
    stop: watch::Sender<bool>,
    task: JoinSet<Result<Moments>>,
}

impl Flow {
    /// Begins it, as the plan has it.
    pub fn begin(publisher: Publisher, channels: &[String], plan: &Plan) -> Flow {
        let (stop, stopped) = watch::channel(false);
        let (from, rate) = (Instant::now(), plan.rate.max(1));
        let idle = u32::from(plan.sabotage == Some(Sabotage::IdlePublisher));
        let (pace, channels) = (
            Duration::from_secs(1) * (1 + idle) / rate,
            channels.to_vec(),
        );
        let mut task = JoinSet::new();
        task.spawn_blocking(move || {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(publish(publisher, channels, pace, stopped))
        });
        Flow {
            rate,
            from,
            stop,
            task,
        }
    }

    /// Ends it; gives what it published.
    pub async fn stop(mut self) -> Result<(Moments, Published)> {
        let to = Instant::now();
        self.stop.send_replace(true);
        let moments = self
            .task
            .join_next()
            .await
            .context("the flow is gone")???;
        let published = Published {
            rate: self.rate,
            from: self.from,
            to,
            events: moments.values().copied().collect(),
        };
        Ok((moments, published))
    }
}

/// Publishes to each channel in turn until it is told to stop, or nobody is there to tell it.
async fn publish(
    publisher: Publisher,
    channels: Vec<String>,
    pace: Duration,
    stopped: watch::Receiver<bool>,
) -> Result<Moments> {
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut moments = Moments::new();
    for channel in channels.iter().cycle() {
        ticks.tick().await;
        if *stopped.borrow() || stopped.has_changed().is_err() {
            break;
        }
        let when = Instant::now();
        let record = publisher.publish(channel).await?;
        moments.insert((channel.clone(), record.serial), when);
    }
    Ok(moments)
}
