//! What a machine needs to join: whom to ask, how to know that it is them, and a secret that says it was
//! invited.
//!
//! ```text
//!   dvs token ──► "dvs1-…"  (addresses, the key of the node that answers there, a secret)
//!                     │ carried by a person
//!                     ▼
//!   dvs join "dvs1-…" ──TLS──► the node at one of the addresses
//!        checks its key against the token's; shows the secret; says its own key
//!                              │
//!                              └─► Admit { digest of the secret, … } into the log
//! ```
//! The log only has the secret's digest: whoever reads it, or its disk, cannot join with that. A token is
//! text for a line of a terminal, with a check sum, so that a slip of the hand is told from a token that is
//! over.

use crate::member::Key;
use dvs_abi::limits::TOKEN_ADDRESSES_MAX;
use std::fmt;
use std::str::FromStr;

const PREFIX: &str = "dvs1-";
const SECRET_BYTES: usize = 16;
const SUM_BYTES: usize = 4;
/// The letters of base 32 (RFC 4648), small.
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// An invitation.
///
/// ```
/// use dvs_control::token::Token;
/// let token = Token::new([7; 16], [9; 32], vec!["192.0.2.1:7400".into()]).unwrap();
/// let text = token.to_string();
/// assert!(text.starts_with("dvs1-") && text.parse::<Token>().unwrap() == token);
/// let slip = text.replace(&text[20..21], if &text[20..21] == "a" { "b" } else { "a" });
/// assert!(slip.parse::<Token>().unwrap_err().to_string().contains("mistyped"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    secret: [u8; SECRET_BYTES],
    key: Key,
    addresses: Vec<String>,
}

/// A token shows its secret only when it is printed for its owner.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({:?})", self.addresses)
    }
}

/// What is wrong with a token.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
pub enum TokenError {
    /// Not of this kind at all.
    #[error("this is no token: tokens begin with {PREFIX}; dvs token on a node of the system makes one")]
    NoToken,
    /// Some letter is wrong or missing.
    #[error("the token is mistyped or cut off; copy the whole line that dvs token printed")]
    Mistyped,
    /// Its addresses cannot be.
    #[error("a token has 1 to {TOKEN_ADDRESSES_MAX} addresses of at most 255 bytes")]
    Addresses,
}

impl Token {
    /// A token with a secret from the system's source of randomness, for the node with this key.
    ///
    /// # Errors
    /// `Addresses`: none, too many, or a wrong one.
    pub fn new(secret: [u8; SECRET_BYTES], key: Key, addresses: Vec<String>) -> Result<Self, TokenError> {
        let fine = |a: &String| !a.is_empty() && a.len() <= 255 && a.chars().all(|c| c.is_ascii_graphic());
        if addresses.is_empty() || addresses.len() > TOKEN_ADDRESSES_MAX || !addresses.iter().all(fine) {
            return Err(TokenError::Addresses);
        }
        Ok(Token { secret, key, addresses })
    }

    /// What the log knows of the secret.
    pub fn digest(&self) -> Key {
        digest(&self.secret)
    }

    /// What is shown to the node that answers, once its key was found to be [`Token::key`].
    pub fn secret(&self) -> [u8; SECRET_BYTES] {
        self.secret
    }

    /// The key of the node that made it.
    pub fn key(&self) -> Key {
        self.key
    }

    /// Where that node listens.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = [&self.secret[..], &self.key].concat();
        for a in &self.addresses {
            bytes.push(a.len() as u8);
            bytes.extend_from_slice(a.as_bytes());
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Token> {
        let (secret, rest) = bytes.split_first_chunk()?;
        let (key, mut rest) = rest.split_first_chunk()?;
        let mut addresses = Vec::new();
        while let Some((length, after)) = rest.split_first() {
            let (address, after) = after.split_at_checked(usize::from(*length))?;
            addresses.push(String::from_utf8(address.to_vec()).ok()?);
            rest = after;
        }
        Token::new(*secret, *key, addresses).ok()
    }
}

/// What the log knows of a secret.
pub fn digest(secret: &[u8; SECRET_BYTES]) -> Key {
    blake3::derive_key("dvs 2026-11 secret of a token", secret)
}

fn sum(bytes: &[u8]) -> [u8; SUM_BYTES] {
    let hash = blake3::derive_key("dvs 2026-11 check sum of a token", bytes);
    std::array::from_fn(|i| hash[i])
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.bytes();
        bytes.extend(sum(&bytes));
        write!(f, "{PREFIX}{}", letters(&bytes))
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let rest = text.strip_prefix(PREFIX).ok_or(TokenError::NoToken)?;
        let bytes = from_letters(rest).ok_or(TokenError::Mistyped)?;
        let (body, got) = bytes.split_last_chunk::<SUM_BYTES>().ok_or(TokenError::Mistyped)?;
        if sum(body) != *got {
            return Err(TokenError::Mistyped);
        }
        Token::read(body).ok_or(TokenError::Mistyped)
    }
}

fn letters(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    for five in bytes.chunks(5) {
        let group = five.iter().enumerate().fold(0_u64, |g, (i, b)| g | u64::from(*b) << (32 - 8 * i));
        for i in 0..(five.len() * 8).div_ceil(5) {
            text.push(char::from(LETTERS[(group >> (35 - 5 * i) & 31) as usize]));
        }
    }
    text
}

fn from_letters(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    for eight in text.as_bytes().chunks(8) {
        let mut group = 0_u64;
        for (i, c) in eight.iter().enumerate() {
            let value = LETTERS.iter().position(|l| *l == c.to_ascii_lowercase())? as u64;
            group |= value << (35 - 5 * i);
        }
        let whole = eight.len() * 5 / 8;
        bytes.extend((0..whole).map(|i| (group >> (32 - 8 * i)) as u8));
        let rest = group & ((1 << (40 - 8 * whole)) - 1);
        if rest != 0 || whole == 0 {
            return None;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{Token, TokenError, from_letters, letters};
    use proptest::prelude::*;

    fn token() -> Token {
        Token::new([7; 16], [9; 32], vec!["192.0.2.1:7400".into(), "[2001:db8::1]:7400".into()]).unwrap()
    }

    #[test]
    fn a_slip_of_the_hand_is_told_wherever_it_is() {
        let text = token().to_string();
        for at in 5..text.len() {
            for wrong in ['a', 'q', '1', ' ', 'é'] {
                let mut slip: Vec<char> = text.chars().collect();
                if slip[at] != wrong {
                    slip[at] = wrong;
                    let slip: String = slip.into_iter().collect();
                    assert_eq!(slip.parse::<Token>(), Err(TokenError::Mistyped), "{slip}");
                }
            }
            assert_eq!(text[..at].parse::<Token>(), Err(TokenError::Mistyped), "cut off at {at}");
        }
        assert_eq!("3f…".parse::<Token>(), Err(TokenError::NoToken));
        assert_eq!(format!("  {text}\n").parse(), Ok(token()));
    }

    #[test]
    fn it_shows_its_secret_to_nobody_who_only_looks() {
        let shown = format!("{:?}", token());
        assert!(shown.contains("192.0.2.1:7400") && !shown.contains('7'.to_string().repeat(3).as_str()));
        assert_ne!(token().digest()[..16], token().secret()[..]);
    }

    #[test]
    fn addresses_are_bounded() {
        for wrong in
            [vec![], vec![String::new()], vec!["a b".into()], vec!["x".repeat(256)], vec!["a".into(); 99]]
        {
            assert_eq!(Token::new([0; 16], [0; 32], wrong), Err(TokenError::Addresses));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(from_letters(&letters(&bytes)), Some(bytes));
        }

        #[test]
        fn no_text_is_a_surprise(text in "(dvs1-)?.{0,60}") {
            let _ = text.parse::<Token>();
        }
    }
}
