//! Real processes. One binary, a module for each subject.


mod folder;
mod hostile;
mod program;
