// Package render puts a node's secrets into the files that the agent renders for containers. In the text of a file
//
//	{{secret "NAME"}}       stands for the content of the node's secret NAME,
//	{{sha512crypt "NAME"}}  for its crypt(3) hash ($6$), the same on this node as long as the secret is.
//
// Nothing else of text/template's functions that looks at the world is there. Rendered text never appears in an error.
package render

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/GehirnInc/crypt/sha512_crypt"
)

// Secrets are a node's secrets, one file each in a directory.
type Secrets struct {
	Dir string
	// Node salts the hashes, so that they differ from node to node.
	Node string
}

// Path returns where a secret lies; the error says when this node was not given it.
func (s Secrets) Path(name string) (string, error) {
	if name == "" || name != filepath.Base(name) || strings.HasPrefix(name, ".") {
		return "", fmt.Errorf("%q is no name of a secret", name)
	}
	path := filepath.Join(s.Dir, name)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("this node has no secret %s in %s; `lab up` gives it what its role needs", name, s.Dir)
	case err != nil:
		return "", fmt.Errorf("look up secret %s: %w", name, err)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("secret %s is not a file", path)
	}
	return path, nil
}

// Render returns the text with the secrets in it.
func (s Secrets) Render(name, text string) ([]byte, error) {
	if !strings.Contains(text, "{{") {
		return []byte(text), nil
	}
	parsed, err := template.New(name).Option("missingkey=error").Funcs(template.FuncMap{
		"secret":      s.Read,
		"sha512crypt": s.sha512crypt,
	}).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", name, err)
	}
	var out strings.Builder
	if err := parsed.Execute(&out, nil); err != nil {
		return nil, fmt.Errorf("render %s: %w", name, err)
	}
	return []byte(out.String()), nil
}

// Read returns a secret's content without the newline at its end.
func (s Secrets) Read(name string) (string, error) {
	path, err := s.Path(name)
	if err != nil {
		return "", err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read secret %s: %w", name, err)
	}
	// A file written manually ends in a newline that is not meant.
	return strings.TrimRight(string(content), "\r\n"), nil
}

func (s Secrets) sha512crypt(name string) (string, error) {
	secret, err := s.Read(name)
	if err != nil {
		return "", err
	}
	// A salt must differ where secrets may be equal, not be unpredictable: this one needs no state of its own.
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(s.Node + "/" + name))
	salt := "$6$" + hex.EncodeToString(mac.Sum(nil))[:16]
	hash, err := sha512_crypt.New().Generate([]byte(secret), []byte(salt))
	if err != nil {
		return "", fmt.Errorf("hash secret %s: %w", name, err)
	}
	return hash, nil
}
