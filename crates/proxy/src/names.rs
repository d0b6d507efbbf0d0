//! Which of the fields that the stages ask for a head has, found in one pass over its names.
//!
//! Nearly all heads have nearly none of them, and to look each up takes a hash and a search.

use http::HeaderMap;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderName, TE,
    TRANSFER_ENCODING, UPGRADE,
};

/// The names in a head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names(u16);

/// A field that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Name {
    Connection = 1,
    TransferEncoding = 1 << 1,
    Upgrade = 1 << 2,
    Te = 1 << 3,
    Expect = 1 << 4,
    Authorization = 1 << 5,
    /// `X-Api-Key` or `Api-Key`.
    ApiKey = 1 << 6,
    ContentLength = 1 << 7,
    ContentType = 1 << 8,
}

impl Names {
    /// Looks at each name once.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self(headers.keys().fold(0, |seen, name| seen | bit(name)))
    }

    /// Whether there is such a field, whatever it says.
    pub(crate) fn has(self, name: Name) -> bool {
        self.0 & name as u16 != 0
    }
}

fn bit(name: &HeaderName) -> u16 {
    let found = match *name {
        CONNECTION => Name::Connection,
        TRANSFER_ENCODING => Name::TransferEncoding,
        UPGRADE => Name::Upgrade,
        TE => Name::Te,
        EXPECT => Name::Expect,
        AUTHORIZATION => Name::Authorization,
        CONTENT_LENGTH => Name::ContentLength,
        CONTENT_TYPE => Name::ContentType,
        _ if matches!(name.as_str(), "x-api-key" | "api-key") => Name::ApiKey,
        _ => return 0,
    };
    found as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn each_name_is_found_and_no_other() {
        let all = [
            ("connection", Name::Connection),
            ("transfer-encoding", Name::TransferEncoding),
            ("upgrade", Name::Upgrade),
            ("te", Name::Te),
            ("expect", Name::Expect),
            ("authorization", Name::Authorization),
            ("x-api-key", Name::ApiKey),
            ("api-key", Name::ApiKey),
            ("content-length", Name::ContentLength),
            ("content-type", Name::ContentType),
        ];
        for (text, name) in all {
            let mut headers = HeaderMap::new();
            headers.insert("x-other", HeaderValue::from_static("1"));
            headers.insert(text, HeaderValue::from_static(""));
            let names = Names::of(&headers);
            for (_, other) in all {
                assert_eq!(names.has(other), other == name, "{text} {other:?}");
            }
        }
    }
}
