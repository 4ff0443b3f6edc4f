//! What `wit-bindgen` makes of the interfaces.

wit_bindgen::generate!({
    path: ["../../../wit/plugin/0.1.0", "wit"],
    world: "brooklet:hostile/guest",
    generate_all,
});
