/// Lists the cases of a suite once and makes of the list: the public `cases`, and the exported macro that expands to
/// one `#[test]` per case. A case that is not listed is dead code, which the compiler reports.
macro_rules! suite {
    ($d:tt $exported:ident, $module:ident, $subject:ident, $form:literal, [$($case:ident),+ $(,)?]) => {
        /// The cases, for a harness of one's own. Each takes a subject that no other case has used, and panics where
        /// the adapter breaks the claim of its name.
        pub mod cases {
            $(
                #[doc = concat!("Claims: `", stringify!($case), "`.")]
                pub async fn $case(subject: &$crate::$subject) {
                    super::$case(subject).await;
                }
            )+
        }

        #[doc = concat!("One `#[test]` per case of [`", stringify!($module), "`](mod@crate::", stringify!($module), ").")]
        ///
        /// The argument is a future that makes a fresh subject; it is evaluated once per case. With `mod name:` before
        /// it, attributes of the module included, the tests stand in a module of their own.
        #[doc = ""]
        #[doc = $form]
        #[macro_export]
        macro_rules! $exported {
            ($d(#[$d attribute:meta])* mod $d name:ident: $d make:expr) => {
                $d(#[$d attribute])*
                mod $d name {
                    use super::*;

                    $(
                        #[test]
                        fn $case() {
                            $crate::run(async {
                                let subject: $crate::$subject = $d make.await;
                                $crate::$module::cases::$case(&subject).await;
                            });
                        }
                    )+
                }
            };
            ($d make:expr) => {
                $(
                    #[test]
                    fn $case() {
                        $crate::run(async {
                            let subject: $crate::$subject = $d make.await;
                            $crate::$module::cases::$case(&subject).await;
                        });
                    }
                )+
            };
        }
    };
}
