//! One declaration for each read, two callers: [`Store`](crate::Store) on a reader connection, and
//! [`Tx`](crate::Tx) on the connection that holds the writer.

/// Gives each named function of the calling module (first argument `&mut Connection`) a method of
/// the same name on `Store` and on `Tx`.
macro_rules! reads {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) -> $output:ty;)*) => {
        impl crate::Store {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// [`StoreError`](crate::StoreError) when the database cannot be read.
                pub async fn $name(&self, $($arg: $type),*) -> Result<$output, crate::StoreError> {
                    let mut connection = self.reader().await?;
                    $name(&mut connection, $($arg),*).await
                }
            )*
        }

        impl crate::Tx {
            $(
               $(#[$doc])*
                ///
                /// # Errors
                /// [`StoreError`](crate::StoreError) when the database cannot be read.
                pub async fn $name(&mut self, $($arg: $type),*) -> Result<$output, crate::StoreError> {
                    $name(self.connection(), $($arg),*).await
                }
            )*
        }
    };
}
