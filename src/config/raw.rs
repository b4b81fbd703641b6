//! How a section of settings is declared: once, for flags, environment and file.

/// Settings that can lie over others of the same kind.
pub trait Layer: Sized {
    /// Takes from `below` what is not set here.
    #[must_use]
    fn over(self, below: Self) -> Self;
}

/// Declares a section: every field becomes an `Option`, is a flag of the same name for clap, a key of the same name in
/// the file, and takes part in [`Layer::over`].
macro_rules! section {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)*
        }
    ) => {
        #[derive(Clone, Default, clap::Args, serde::Deserialize)]
        $(#[$meta])*
        #[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: Option<$type>,)*
        }

        impl $crate::config::Layer for $name {
            fn over(self, below: Self) -> Self {
                Self { $($field: self.$field.or(below.$field),)* }
            }
        }
    };
}
