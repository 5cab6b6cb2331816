use std::net::IpAddr;

use leadtrail_domain::id::KeyId;

/// Whose requests count together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Client {
    /// Whoever has this address.
    V4([u8; 4]),
    /// Whoever has an address with these first 64 bits: a network of that size is what one customer has, and all of it
    /// is at the command of one machine.
    V6([u16; 4]),
    /// The bearer of a key, wherever it is: an office behind one address does not share what its keys may.
    Key(KeyId),
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn are_one(one: &str, other: &str) -> bool {
        let client = |text: &str| Client::from(text.parse::<IpAddr>().unwrap());
        client(one) == client(other)
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_network_of_64_bits() {
        for (one, other, expected) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
            ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("::1", "0.0.0.0", false),
        ] {
            assert_eq!(are_one(one, other), expected, "{one} and {other}");
        }
    }
}
