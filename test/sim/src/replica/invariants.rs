//! What must always be so with replicated services, one file each.

mod calls_end;
mod explained;
mod heals;
mod members_go_on;
mod once_each;

pub use calls_end::CallsEnd;
pub use explained::Explained;
pub use heals::Heals;
pub use members_go_on::MembersGoOn;
pub use once_each::OnceEach;
