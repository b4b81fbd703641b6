//! Orders, their validation, and the wire forms.
