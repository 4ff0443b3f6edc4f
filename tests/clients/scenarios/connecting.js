// How a client reaches the broker: what the environment says of the way (`src/way.rs` has the list). Nothing
// there means plain TCP.
const { readFileSync } = require('node:fs')

const { BROOKLET_TLS_CA, BROOKLET_TLS_CERT, BROOKLET_TLS_KEY } = process.env
const { BROOKLET_SASL_USER, BROOKLET_SASL_PASSWORD_FILE, BROOKLET_SASL_MECHANISM } = process.env

const file = (path) => path && readFileSync(path, 'utf8')

// What Node's own TLS takes.
exports.tls = BROOKLET_TLS_CA && { ca: file(BROOKLET_TLS_CA), cert: file(BROOKLET_TLS_CERT), key: file(BROOKLET_TLS_KEY) }

exports.sasl = BROOKLET_SASL_USER && {
  mechanism: BROOKLET_SASL_MECHANISM, username: BROOKLET_SASL_USER, password: file(BROOKLET_SASL_PASSWORD_FILE),
}
