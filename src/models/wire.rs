//! Reads JSON into structs in one pass, more strictly than derived code would: a duplicate key is an error wherever
//! it stands, in fields that nobody asked for too; an array is no object; `null` is no value. What went wrong is kept
//! as a type beside serde's own error, so that nothing has to look into message text. Owns no rule about orders.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::decode::MAX_DEPTH;

/// One step from the document's root to a value.
#[derive(Debug, Clone, Copy)]
enum Step {
    Field(&'static str),
    Index(usize),
}

/// What made the reading end, where serde's error alone would not tell it as a type.
#[derive(Debug)]
pub(super) enum Fault {
    /// A value of another type than its field has.
    WrongType { expected: &'static str, found: &'static str },
    /// A key that its object holds already; unescaped, as it was read.
    DuplicateKey(String),
    /// An array or object within too many others.
    TooDeep,
}

/// What is known about a reading besides its value: filled on the way out of an error, untouched otherwise.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) fault: Option<Fault>,
    /// The steps to the place of the error, the innermost first.
    steps: Vec<Step>,
    /// How many arrays and objects are open.
    depth: usize,
}

impl Reading {
    /// The place of the error as a JSON Pointer (RFC 6901); empty for the whole document.
    pub(super) fn path(&self) -> String {
        let mut path = String::new();
        for step in self.steps.iter().rev() {
            path.push('/');
            match step {
                Step::Field(name) => path.push_str(name),
                Step::Index(index) => path.push_str(&index.to_string()),
            }
        }
        path
    }

    pub(super) fn leave_field<E>(&mut self, name: &'static str, error: E) -> E {
        self.steps.push(Step::Field(name));
        error
    }

    fn leave_index<E>(&mut self, index: usize, error: E) -> E {
        self.steps.push(Step::Index(index));
        error
    }

    /// Notes that an array or object begins.
    fn enter<E: Error>(&mut self) -> Result<(), E> {
        self.depth += 1;
        if self.depth <= MAX_DEPTH {
            return Ok(());
        }
        self.fault = Some(Fault::TooDeep);
        Err(E::custom("too deep"))
    }

    /// Notes that it ends.
    fn leave(&mut self) {
        self.depth -= 1;
    }

    fn wrong_type<E: Error>(&mut self, expected: &'static str, found: &'static str) -> E {
        self.fault = Some(Fault::WrongType { expected, found });
        E::custom("wrong type")
    }

    #[cold]
    pub(super) fn duplicate<E: Error>(&mut self, key: &str) -> E {
        self.fault = Some(Fault::DuplicateKey(key.to_owned()));
        E::custom("duplicate key")
    }
}

/// A value that can be read. Each method says what becomes of one kind of JSON value; the default refuses it.
pub(super) trait Wire<'de>: Sized {
    /// What a reader of the error message is told to send, with its article.
    const EXPECTED: &'static str;

    fn from_bool(_value: bool) -> Option<Self> {
        None
    }
    fn from_i64(_value: i64) -> Option<Self> {
        None
    }
    fn from_u64(_value: u64) -> Option<Self> {
        None
    }
    fn from_f64(_value: f64) -> Option<Self> {
        None
    }
    fn from_null() -> Option<Self> {
        None
    }
    /// A string that stands in the payload as it is.
    fn from_borrowed(_value: &'de str) -> Option<Self> {
        None
    }
    /// A string that had to be unescaped.
    fn from_unescaped(_value: &str) -> Option<Self> {
        None
    }
    fn from_seq<A: SeqAccess<'de>>(_seq: A, reading: &mut Reading) -> Result<Self, A::Error> {
        Err(reading.wrong_type(Self::EXPECTED, "an array"))
    }
    fn from_map<A: MapAccess<'de>>(_map: A, reading: &mut Reading) -> Result<Self, A::Error> {
        Err(reading.wrong_type(Self::EXPECTED, "an object"))
    }
}

/// Reads one `T`, noting in `reading` what goes wrong.
pub(super) struct Read<'r, T> {
    reading: &'r mut Reading,
    value: PhantomData<T>,
}

impl<'r, T> Read<'r, T> {
    pub(super) fn new(reading: &'r mut Reading) -> Self {
        Self { reading, value: PhantomData }
    }
}

impl<'de, T: Wire<'de>> DeserializeSeed<'de> for Read<'_, T> {
    type Value = T;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Wire<'de>> Visitor<'de> for Read<'_, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<T, E> {
        T::from_bool(value).ok_or_else(|| self.reading.wrong_type(T::EXPECTED, "a boolean"))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
        T::from_i64(value).ok_or_else(|| self.reading.wrong_type(T::EXPECTED, "a number"))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<T, E> {
        T::from_u64(value).ok_or_else(|| {
            let out_of_range = i64::try_from(value).is_err();
            let found = if out_of_range { "a number out of range" } else { "a number" };
            self.reading.wrong_type(T::EXPECTED, found)
        })
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<T, E> {
        T::from_f64(value).ok_or_else(|| {
            let found = if T::EXPECTED == i64::EXPECTED { "a number of another form" } else { "a number" };
            self.reading.wrong_type(T::EXPECTED, found)
        })
    }

    fn visit_unit<E: Error>(self) -> Result<T, E> {
        T::from_null().ok_or_else(|| self.reading.wrong_type(T::EXPECTED, "null"))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<T, E> {
        T::from_borrowed(value).ok_or_else(|| self.reading.wrong_type(T::EXPECTED, "a string"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<T, E> {
        T::from_unescaped(value).ok_or_else(|| self.reading.wrong_type(T::EXPECTED, "a string"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<T, A::Error> {
        self.reading.enter()?;
        let value = T::from_seq(seq, self.reading)?;
        self.reading.leave();
        Ok(value)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        self.reading.enter()?;
        let value = T::from_map(map, self.reading)?;
        self.reading.leave();
        Ok(value)
    }
}

impl<'de> Wire<'de> for Cow<'de, str> {
    const EXPECTED: &'static str = "a string";

    fn from_borrowed(value: &'de str) -> Option<Self> {
        Some(Cow::Borrowed(value))
    }
    fn from_unescaped(value: &str) -> Option<Self> {
        Some(Cow::Owned(value.to_owned()))
    }
}

impl Wire<'_> for bool {
    const EXPECTED: &'static str = "a boolean";

    fn from_bool(value: bool) -> Option<Self> {
        Some(value)
    }
}

impl Wire<'_> for i64 {
    const EXPECTED: &'static str = "an integer of 64 bits";

    fn from_i64(value: i64) -> Option<Self> {
        Some(value)
    }
    fn from_u64(value: u64) -> Option<Self> {
        i64::try_from(value).ok()
    }
}

impl Wire<'_> for f64 {
    const EXPECTED: &'static str = "a number";

    fn from_i64(value: i64) -> Option<Self> {
        Some(value as f64)
    }
    fn from_u64(value: u64) -> Option<Self> {
        Some(value as f64)
    }
    fn from_f64(value: f64) -> Option<Self> {
        Some(value)
    }
}

impl<'de, T: Wire<'de>> Wire<'de> for Vec<T> {
    const EXPECTED: &'static str = "an array";

    fn from_seq<A: SeqAccess<'de>>(mut seq: A, reading: &mut Reading) -> Result<Self, A::Error> {
        let mut list = Self::new();
        loop {
            match seq.next_element_seed(Read::<T>::new(reading)) {
                Ok(Some(value)) => list.push(value),
                Ok(None) => return Ok(list),
                Err(error) => return Err(reading.leave_index(list.len(), error)),
            }
        }
    }
}

/// A value that nobody asked for. It is walked all the same: serde_json's own way past such a value looks neither at
/// its depth nor at its keys.
#[derive(Debug)]
pub(super) struct Ignored;

impl<'de> Wire<'de> for Ignored {
    const EXPECTED: &'static str = "any value";

    fn from_bool(_: bool) -> Option<Self> {
        Some(Self)
    }
    fn from_i64(_: i64) -> Option<Self> {
        Some(Self)
    }
    fn from_u64(_: u64) -> Option<Self> {
        Some(Self)
    }
    fn from_f64(_: f64) -> Option<Self> {
        Some(Self)
    }
    fn from_null() -> Option<Self> {
        Some(Self)
    }
    fn from_borrowed(_: &'de str) -> Option<Self> {
        Some(Self)
    }
    fn from_unescaped(_: &str) -> Option<Self> {
        Some(Self)
    }
    fn from_seq<A: SeqAccess<'de>>(mut seq: A, reading: &mut Reading) -> Result<Self, A::Error> {
        while seq.next_element_seed(Read::<Self>::new(reading))?.is_some() {}
        Ok(Self)
    }
    fn from_map<A: MapAccess<'de>>(mut map: A, reading: &mut Reading) -> Result<Self, A::Error> {
        let mut keys = Keys::default();
        while let Some(key) = map.next_key_seed(Read::<Cow<'de, str>>::new(reading))? {
            keys.insert(key).map_err(|key| reading.duplicate(&key))?;
            map.next_value_seed(Read::<Self>::new(reading))?;
        }
        Ok(Self)
    }
}

/// The unknown keys of one object. A list while they are few, a set afterwards: an object of many keys must not cost
/// the square of their number.
#[derive(Debug, Default)]
pub(super) struct Keys<'de> {
    few: Vec<Cow<'de, str>>,
    many: Option<HashSet<Cow<'de, str>>>,
}

impl<'de> Keys<'de> {
    const FEW: usize = 16;

    /// Adds a key, or gives it back if it is there already.
    pub(super) fn insert(&mut self, key: Cow<'de, str>) -> Result<(), Cow<'de, str>> {
        if let Some(many) = &mut self.many {
            if many.contains(&key) {
                return Err(key);
            }
            many.insert(key);
            return Ok(());
        }
        if self.few.contains(&key) {
            return Err(key);
        }
        self.few.push(key);
        if self.few.len() > Self::FEW {
            self.many = Some(self.few.drain(..).collect());
        }
        Ok(())
    }
}

/// A value that can outlive the payload that it was read from.
pub(super) trait IntoOwned {
    type Owned;
    fn into_owned(self) -> Self::Owned;
}

impl IntoOwned for Cow<'_, str> {
    type Owned = Cow<'static, str>;
    fn into_owned(self) -> Cow<'static, str> {
        Cow::Owned(Cow::into_owned(self))
    }
}

impl<T: IntoOwned> IntoOwned for Vec<T> {
    type Owned = Vec<T::Owned>;
    fn into_owned(self) -> Self::Owned {
        self.into_iter().map(T::into_owned).collect()
    }
}

macro_rules! already_owned {
    ($($ty:ty),+) => {
        $(impl IntoOwned for $ty {
            type Owned = Self;
            fn into_owned(self) -> Self {
                self
            }
        })+
    };
}
already_owned!(bool, f64, i64);

/// Declares structs whose fields are the fields of a JSON object, in the order in which they are written. Reading is
/// strict as this module's first comment says, or quick as that of `plain` does; a field that is absent has its type's
/// zero value.
macro_rules! objects {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $ty:ty),+ $(,)? })+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
            pub struct $name<'a> {
                $($(#[$field_doc])* pub $field: $ty,)+
            }

            impl<'a> $crate::models::wire::Wire<'a> for $name<'a> {
                const EXPECTED: &'static str = "an object";

                fn from_map<A: serde::de::MapAccess<'a>>(
                    mut map: A,
                    reading: &mut $crate::models::wire::Reading,
                ) -> Result<Self, A::Error> {
                    use $crate::models::wire::{Ignored, Keys, Read};

                    $(let mut $field: Option<$ty> = None;)+
                    let mut unknown = Keys::default();
                    while let Some(key) = map.next_key_seed(Read::<Cow<'a, str>>::new(reading))? {
                        match &*key {
                            $(stringify!($field) => {
                                if $field.is_some() {
                                    return Err(reading.duplicate(stringify!($field)));
                                }
                                let value = map
                                    .next_value_seed(Read::<$ty>::new(reading))
                                    .map_err(|e| reading.leave_field(stringify!($field), e))?;
                                $field = Some(value);
                            })+
                            _ => {
                                unknown.insert(key).map_err(|key| reading.duplicate(&key))?;
                                map.next_value_seed(Read::<Ignored>::new(reading))?;
                            }
                        }
                    }
                    Ok(Self { $($field: $field.unwrap_or_default(),)+ })
                }
            }

            impl<'a> $crate::models::plain::ReadPlain<'a> for $name<'a> {
                fn read_plain(json: &mut $crate::models::plain::Plain<'a>) -> Option<Self> {
                    $(let mut $field: Option<$ty> = None;)+
                    let mut more = json.begin()?;
                    // As they are declared they are mostly written.
                    $(if more && json.is_next(concat!("\"", stringify!($field), "\":")) {
                        $field = Some($crate::models::plain::ReadPlain::read_plain(json)?);
                        more = json.more()?;
                    })+
                    while more {
                        match json.name()? {
                            $(stringify!($field) if $field.is_none() => {
                                $field = Some($crate::models::plain::ReadPlain::read_plain(json)?);
                            })+
                            _ => return None,
                        }
                        more = json.more()?;
                    }
                    Some(Self { $($field: $field.unwrap_or_default(),)+ })
                }
            }

            impl $crate::models::wire::IntoOwned for $name<'_> {
                type Owned = $name<'static>;
                fn into_owned(self) -> Self::Owned {
                    $name { $($field: $crate::models::wire::IntoOwned::into_owned(self.$field),)+ }
                }
            }
        )+
    };
}
pub(super) use objects;
