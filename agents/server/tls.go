package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
)

// Identity is a node's certificate and the authority that it trusts.
type Identity struct {
	certificate tls.Certificate
	authority   *x509.CertPool
}

// LoadIdentity reads ca.crt, node.crt and node.key from a directory.
func LoadIdentity(dir string) (Identity, error) {
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return Identity{}, fmt.Errorf("read the lab's CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return Identity{}, fmt.Errorf("%s holds no certificate", filepath.Join(dir, "ca.crt"))
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "node.crt"), filepath.Join(dir, "node.key"))
	if err != nil {
		return Identity{}, fmt.Errorf("read this node's certificate in %s: %w", dir, err)
	}
	return Identity{certificate: pair, authority: pool}, nil
}

// Server is the configuration of a server that insists on certificates of the same CA.
func (i Identity) Server() *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{i.certificate},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    i.authority,
		NextProtos:   []string{"h2"},
	}
}

// Client is the configuration of a client of another node's agent.
func (i Identity) Client(node string) *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{i.certificate},
		RootCAs:      i.authority,
		ServerName:   node,
	}
}
