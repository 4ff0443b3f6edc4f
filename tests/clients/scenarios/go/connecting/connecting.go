// Package connecting says how a client reaches the broker: what the environment says of the way (`src/way.rs`
// has the list). Nothing there means plain TCP.
package connecting

import (
	"crypto/tls"
	"crypto/x509"
	"log"
	"os"
)

// TLS is nil where there is none.
func TLS() *tls.Config {
	authority := os.Getenv("BROOKLET_TLS_CA")
	if authority == "" {
		return nil
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM([]byte(read(authority)))
	if path := os.Getenv("BROOKLET_TLS_CERT"); path != "" {
		certificate, err := tls.LoadX509KeyPair(path, os.Getenv("BROOKLET_TLS_KEY"))
		if err != nil {
			log.Panic(err)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return config
}

// User is who the client is by SCRAM-SHA-512; no name where it is asked for none.
func User() (name, password string) {
	if name = os.Getenv("BROOKLET_SASL_USER"); name != "" {
		password = read(os.Getenv("BROOKLET_SASL_PASSWORD_FILE"))
	}
	return name, password
}

func read(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		log.Panic(err)
	}
	return string(text)
}
