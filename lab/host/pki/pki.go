// Package pki makes what the parts of a lab know each other by: the lab's certificate authority, a certificate for each
// node and for the host's two client roles, and the secrets of the containers. It lays them out below .lab/ so that each
// node is given its own and nothing else:
//
//	.lab/pki/      ca.crt ca.key operate.crt operate.key observe.crt observe.key
//	.lab/secrets/  one file for each secret, generated once
//	.lab/nodes/N/  agent.yaml, pki/, secrets/: what node N is given, besides what lab/host/nodefiles puts there
//
// Everything is kept as long as it is good: a file is only written when its content has to change, so that the hash over
// a node's folder, and with it the need to provision again, follows from content alone. Directories of keys and secrets are
// 0700, files 0600.
// Nothing here is ever logged or put into an error.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Lifetimes. A leaf is made anew when less than RenewBefore of it is left.
const (
	CALifetime   = 10 * 365 * 24 * time.Hour
	LeafLifetime = 2 * 365 * 24 * time.Hour
	RenewBefore  = 30 * 24 * time.Hour
)

// backdate allows for nodes whose clock is a little behind the host's.
const backdate = time.Hour

// Units: what the organizational unit of a certificate allows its holder, see agents/api/agent/v1.
const (
	UnitNode    = "node"
	UnitOperate = "operate"
	UnitObserve = "observe"
)

// Authority signs a lab's certificates.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// Leaf describes a certificate.
type Leaf struct {
	CommonName string
	// Unit is one of the Unit constants.
	Unit string
	DNS  []string
	IPs  []net.IP
	// Server: may be presented by a server as well as by a client.
	Server   bool
	Lifetime time.Duration
}

// NewAuthority makes an authority that is valid from now on.
func NewAuthority(name string, now time.Time, lifetime time.Duration) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate the authority's key: %w", err)
	}
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(lifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign the authority's certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse the authority's certificate: %w", err)
	}
	return &Authority{cert: cert, key: key}, nil
}

// Certificate returns the authority's own certificate in PEM.
func (a *Authority) Certificate() []byte { return certPEM(a.cert.Raw) }

// Pool returns a pool that trusts this authority alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Issue signs a new certificate with a new key; both are returned in PEM.
func (a *Authority) Issue(l Leaf, now time.Time) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generate the key of %s: %w", l.CommonName, err)
	}
	serial, err := serialNumber()
	if err != nil {
		return nil, nil, err
	}
	usage := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if l.Server {
		usage = append(usage, x509.ExtKeyUsageServerAuth)
	}
	end := now.Add(l.Lifetime)
	if end.After(a.cert.NotAfter) {
		end = a.cert.NotAfter
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: l.CommonName, OrganizationalUnit: []string{l.Unit}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              end,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           usage,
		BasicConstraintsValid: true,
		DNSNames:              l.DNS,
		IPAddresses:           l.IPs,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("sign the certificate of %s: %w", l.CommonName, err)
	}
	keyPEM, err := keyPEM(private)
	if err != nil {
		return nil, nil, err
	}
	return certPEM(der), keyPEM, nil
}

// good says whether a certificate and key on disk still are what Issue would make of l.
func (a *Authority) good(cert, key []byte, l Leaf, now time.Time) bool {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return false
	}
	c := pair.Leaf
	usages := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if l.Server {
		usages = append(usages, x509.ExtKeyUsageServerAuth)
	}
	return c.CheckSignatureFrom(a.cert) == nil &&
		now.After(c.NotBefore) && now.Add(RenewBefore).Before(c.NotAfter) &&
		c.Subject.CommonName == l.CommonName &&
		slices.Equal(c.Subject.OrganizationalUnit, []string{l.Unit}) &&
		slices.Equal(c.DNSNames, l.DNS) &&
		slices.EqualFunc(c.IPAddresses, l.IPs, net.IP.Equal) &&
		slices.Equal(c.ExtKeyUsage, usages)
}

// authority returns the authority of dir, made anew when it is missing, damaged or about to expire: whatever it signed
// is then made anew as well.
func authority(dir, name string, now time.Time) (*Authority, error) {
	certFile, keyFile := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
	a, err := loadAuthority(certFile, keyFile)
	if err == nil && now.After(a.cert.NotBefore) && now.Add(RenewBefore).Before(a.cert.NotAfter) {
		return a, nil
	}
	if err != nil && errors.Is(err, fs.ErrPermission) {
		return nil, err
	}
	if a, err = NewAuthority("swarmlab "+name, now, CALifetime); err != nil {
		return nil, err
	}
	key, err := keyPEM(a.key)
	if err != nil {
		return nil, err
	}
	if err := writeFile(keyFile, key); err != nil {
		return nil, err
	}
	return a, writeFile(certFile, a.Certificate())
}

func loadAuthority(certFile, keyFile string) (*Authority, error) {
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		return nil, fmt.Errorf("read the lab's authority: %w", err)
	}
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, fmt.Errorf("read the lab's authority: %w", err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%s and its key: %w", certFile, err)
	}
	signer, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !pair.Leaf.IsCA {
		return nil, fmt.Errorf("%s is no authority", certFile)
	}
	return &Authority{cert: pair.Leaf, key: signer}, nil
}

// keep issues l into dir/NAME.crt and dir/NAME.key unless what is there is still good.
func (a *Authority) keep(dir, name string, l Leaf, now time.Time) error {
	certFile, keyFile := filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	cert, certErr := os.ReadFile(certFile)
	key, keyErr := os.ReadFile(keyFile)
	if certErr == nil && keyErr == nil && a.good(cert, key, l, now) {
		return nil
	}
	cert, key, err := a.Issue(l, now)
	if err != nil {
		return err
	}
	if err := writeFile(keyFile, key); err != nil {
		return err
	}
	return writeFile(certFile, cert)
}

// ClientConfig returns the TLS settings with which the host talks to a node's agent. dir is .lab/pki, unit UnitObserve
// or UnitOperate, node the name that the agent's certificate must carry.
func ClientConfig(dir, unit, node string) (*tls.Config, error) {
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("read the lab's authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s holds no certificate; `make up` makes a new one", filepath.Join(dir, "ca.crt"))
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, unit+".crt"), filepath.Join(dir, unit+".key"))
	if err != nil {
		return nil, fmt.Errorf("read the host's certificate: %w", err)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		RootCAs:      pool,
		Certificates: []tls.Certificate{pair},
		ServerName:   node,
	}, nil
}

func serialNumber() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	return n.Add(n, big.NewInt(1)), nil
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func keyPEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
