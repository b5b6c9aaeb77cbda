//! Ranges of addresses, with the host bits checked: `10.8.0.1/24` is a typing error or a
//! misunderstanding, and silently reading it as `10.8.0.0/24` would hide it.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::value::printable;

pub(super) fn subnet4<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Ipv4Net>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    match range(&text).map_err(Error::custom)? {
        IpNet::V4(net) if (8..=30).contains(&net.prefix_len()) => Ok(Some(net)),
        IpNet::V4(_) => Err(Error::custom("needs a prefix from /8 to /30")),
        IpNet::V6(_) => Err(Error::custom("is an IPv6 range")),
    }
}

pub(super) fn subnet6<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Ipv6Net>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    match range(&text).map_err(Error::custom)? {
        IpNet::V6(net) if (16..=126).contains(&net.prefix_len()) => Ok(Some(net)),
        IpNet::V6(_) => Err(Error::custom("needs a prefix from /16 to /126")),
        IpNet::V4(_) => Err(Error::custom("is an IPv4 range")),
    }
}

pub(super) fn destinations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let list = Vec::<String>::deserialize(deserializer)?;
    list.iter().map(|text| range(text).map_err(|why| Error::custom(format!("{text:?} {why}")))).collect()
}

fn range(text: &str) -> Result<IpNet, String> {
    printable(text)?;
    let Ok(net) = text.parse::<IpNet>() else {
        return Err(match text.parse::<std::net::IpAddr>() {
            Ok(address) => format!("has no prefix; for the single address write {}", IpNet::from(address)),
            Err(_) => "is not a range such as 10.8.0.0/24".to_string(),
        });
    };
    if net.trunc() != net {
        return Err(format!("has host bits set; the range is {}", net.trunc()));
    }
    Ok(net)
}
