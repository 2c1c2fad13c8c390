//! Subscriptions, and what the broker answers to them; notices for it to keep.
//!
//! QoS 1, and what the broker keeps is sent with every SUBSCRIBE (retain handling 0; MQTT 5, section 3.8.3.1), also
//! with one for a topic that is subscribed to already.

use bytes::Bytes;
use rumqttc::mqttbytes::v5::{RetainForwardRule, SubscribeFilter, SubscribeReasonCode};
use rumqttc::{QoS, SubscribeFilterInput};

use super::{Link, Reply};

impl Link {
    /// Subscribes to these topics. The future gives the broker's reason code for each, in their order; `None` when
    /// the connection ended first. No future: the connection is over, or takes no more requests now.
    pub fn subscribe(
        &self,
        topics: Vec<String>,
    ) -> Option<impl Future<Output = Option<Vec<u8>>> + Send + use<>> {
        let filters = topics.into_iter().map(|topic| {
            let filter = SubscribeFilter {
                retain_forward_rule: RetainForwardRule::OnEverySubscribe,
                ..SubscribeFilter::new(topic, QoS::AtLeastOnce)
            };
            SubscribeFilterInput::from(filter)
        });
        let notice = self.client.try_subscribe_many_tracked(filters.collect::<Vec<_>>()).ok()?;
        Some(async move {
            let suback = notice.wait_async().await.ok()?;
            Some(suback.return_codes.into_iter().map(reason_code).collect())
        })
    }

    /// Ends the subscriptions to these topics. The future resolves with UNSUBACK, or when the connection ended.
    pub fn unsubscribe(&self, topics: Vec<String>) -> Option<impl Future<Output = ()> + Send + use<>> {
        let notice = self.client.try_unsubscribe_many_tracked(topics).ok()?;
        Some(async move {
            // Whatever the broker says: what still comes is not wanted, and dropped.
            let _ = notice.wait_async().await;
        })
    }

    /// Publishes JSON for the broker to keep on any topic.
    pub fn notice(
        &self,
        topic: String,
        payload: Bytes,
    ) -> Option<impl Future<Output = Reply> + Send + use<>> {
        self.retain(topic, payload)
    }
}

/// The number of a reason (MQTT 5, table 3-8).
const fn reason_code(reason: SubscribeReasonCode) -> u8 {
    match reason {
        SubscribeReasonCode::Success(qos) => qos as u8,
        SubscribeReasonCode::Failure | SubscribeReasonCode::Unspecified => 0x80,
        SubscribeReasonCode::ImplementationSpecific => 0x83,
        SubscribeReasonCode::NotAuthorized => 0x87,
        SubscribeReasonCode::TopicFilterInvalid => 0x8f,
        SubscribeReasonCode::PkidInUse => 0x91,
        SubscribeReasonCode::QuotaExceeded => 0x97,
        SubscribeReasonCode::SharedSubscriptionsNotSupported => 0x9e,
        SubscribeReasonCode::SubscriptionIdNotSupported => 0xa1,
        SubscribeReasonCode::WildcardSubscriptionsNotSupported => 0xa2,
    }
}
