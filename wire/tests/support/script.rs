//! The publish contract called on a real Redis in each of its three forms.

use std::time::Duration;

use redis::{Cmd, Connection, PubSub, RedisError};
use sluice_wire::{
    Channel, Defaults, Event, Head, Keys, Message, Position, Publish, Refusal, StreamId,
    event::decode,
    publish::{
        FUNCTION_ENSURE_HEAD, FUNCTION_PUBLISH, ensure_head_script, library, parse_reply, script,
        sha1_hex,
    },
};

use super::redis_server::RedisServer;

/// A stream entry as `XRANGE` answers it.
type Entry = (String, Vec<(String, Vec<u8>)>);

#[derive(Clone, Copy, Eq, PartialEq, Debug)]
pub enum Form {
    Eval,
    Evalsha,
    Fcall,
}

impl Form {
    pub const ALL: [Self; 3] = [Self::Eval, Self::Evalsha, Self::Fcall];
}

/// One channel on one Redis, published to in one form.
pub struct Redis {
    pub server: RedisServer,
    pub connection: Connection,
    pub defaults: Defaults,
    pub keys: Keys,
    pub channel: Channel,
    pub form: Form,
}

/// Runs a promise on an empty Redis in each form of the call.
pub fn in_each_form(promise: impl Fn(&mut Redis)) {
    in_each_form_with(Defaults::default(), &[], promise);
}

pub fn in_each_form_with(defaults: Defaults, options: &[&str], promise: impl Fn(&mut Redis)) {
    let mut redis = Redis::start(defaults, options);
    for form in Form::ALL {
        redis.form = form;
        redis.run::<()>(&["FLUSHALL"]);
        promise(&mut redis);
    }
}

impl Redis {
    pub fn start(defaults: Defaults, options: &[&str]) -> Self {
        let server = RedisServer::start(options);
        let connection = server.connect();
        let channel = Channel::parse("orders.eu").expect("valid");
        let mut redis = Self {
            server,
            connection,
            defaults,
            keys: Keys::default(),
            channel,
            form: Form::Eval,
        };
        redis.run::<String>(&["FUNCTION", "LOAD", &library(&defaults)]);
        for text in [script(&defaults), ensure_head_script(&defaults)] {
            assert_eq!(
                redis.run::<String>(&["SCRIPT", "LOAD", &text]),
                sha1_hex(&text)
            );
        }
        redis
    }

    pub fn run<T: redis::FromRedisValue>(&mut self, words: &[&str]) -> T {
        command(words)
            .query(&mut self.connection)
            .expect("Redis accepts the command")
    }

    /// Calls publish with any keys and arguments.
    pub fn publish_raw(&mut self, keys: &[String], args: &[Vec<u8>]) -> Result<Position, Refusal> {
        reply(
            call(
                self.form,
                &script(&self.defaults),
                FUNCTION_PUBLISH,
                keys,
                args,
            )
            .query(&mut self.connection),
        )
    }

    pub fn ensure_head_raw(
        &mut self,
        keys: &[String],
        args: &[Vec<u8>],
    ) -> Result<Position, Refusal> {
        let text = ensure_head_script(&self.defaults);
        reply(call(self.form, &text, FUNCTION_ENSURE_HEAD, keys, args).query(&mut self.connection))
    }

    pub fn publish(&mut self, publish: &Publish<'_>) -> Result<Position, Refusal> {
        let keys = publish.keys(&self.keys);
        self.publish_raw(&keys, &publish.args())
    }

    /// Publishes an event with nothing but data.
    pub fn append(&mut self, data: &str) -> Position {
        let channel = self.channel.clone();
        self.publish(&Publish::new(&channel, data.as_bytes()))
            .expect("published")
    }

    pub fn append_once(&mut self, event_id: &str, data: &str) -> Result<Position, Refusal> {
        let channel = self.channel.clone();
        self.publish(&Publish {
            event_id: Some(event_id),
            ..Publish::new(&channel, data.as_bytes())
        })
    }

    pub fn ensure_head(&mut self) -> Position {
        let keys = [self.stream_key(), self.head_key()];
        self.ensure_head_raw(&keys, &[]).expect("a head")
    }

    pub fn stream_key(&self) -> String {
        self.keys.stream(&self.channel)
    }

    pub fn head_key(&self) -> String {
        self.keys.head(&self.channel)
    }

    pub fn head(&mut self) -> Option<Head> {
        let key = self.head_key();
        self.run::<Option<Vec<u8>>>(&["GET", &key])
            .map(|value| Head::parse(&value).expect("a head"))
    }

    /// All that Redis holds, by name.
    pub fn all_keys(&mut self) -> Vec<String> {
        let mut keys: Vec<String> = self.run(&["KEYS", "*"]);
        keys.sort();
        keys
    }

    pub fn events(&mut self) -> Vec<Event> {
        let key = self.stream_key();
        let entries: Vec<Entry> = self.run(&["XRANGE", &key, "-", "+"]);
        let event = |(id, fields): Entry| {
            Event::from_stream(id.parse::<StreamId>().expect("an id"), fields).expect("an event")
        };
        entries.into_iter().map(event).collect()
    }

    pub fn ttl(&mut self, key: &str) -> Duration {
        Duration::from_millis(
            self.run::<i64>(&["PTTL", key])
                .try_into()
                .expect("the key exists and has a TTL"),
        )
    }

    pub fn delete(&mut self, key: &str) {
        self.run::<()>(&["DEL", key]);
    }
}

pub fn command(words: &[&str]) -> Cmd {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command
}

pub fn call(form: Form, text: &str, function: &str, keys: &[String], args: &[Vec<u8>]) -> Cmd {
    let mut command = match form {
        Form::Eval => redis::cmd("EVAL").arg(text).to_owned(),
        Form::Evalsha => redis::cmd("EVALSHA").arg(sha1_hex(text)).to_owned(),
        Form::Fcall => redis::cmd("FCALL").arg(function).to_owned(),
    };
    command.arg(keys.len()).arg(keys).arg(args);
    command
}

/// A subscription to a channel's topic, confirmed.
pub fn subscribe<'a>(connection: &'a mut Connection, topic: &str) -> PubSub<'a> {
    let mut subscription = connection.as_pubsub();
    subscription.subscribe(topic).expect("subscribed");
    subscription
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a timeout");
    subscription
}

pub fn next_message(subscription: &mut PubSub<'_>) -> Vec<u8> {
    subscription
        .get_message()
        .expect("a message")
        .get_payload_bytes()
        .to_vec()
}

pub fn next_event(subscription: &mut PubSub<'_>) -> Event {
    match decode(next_message(subscription).into(), usize::MAX).expect("a frame") {
        Message::Event(event) => event,
        Message::Ephemeral(data) => panic!("an ephemeral event: {data:?}"),
    }
}

fn reply(result: Result<Vec<u8>, RedisError>) -> Result<Position, Refusal> {
    result
        .map(|reply| parse_reply(&reply).expect("a position"))
        .map_err(|error| {
            Refusal::from_redis_error(&error.to_string())
                .unwrap_or_else(|| panic!("not a refusal: {error}"))
        })
}
