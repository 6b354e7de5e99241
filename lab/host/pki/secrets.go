package pki

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/swarmlab/swarmlab/agents/common/contract"
	"github.com/swarmlab/swarmlab/lab/host/topology"
)

// File names of the secrets.
const (
	secretRedisPassword    = contract.RedisPassword
	secretRedisUsers       = "redis-users.acl"
	secretPostgresPassword = contract.PostgresPassword
	secretVoterKey         = contract.VoterKey
	secretStatsPassword    = contract.StatsPassword
	secretConsulManagement = contract.ManagementToken
	secretConsulNode       = contract.NodeToken
)

// Secrets that the host uses itself, as paths below .lab.
const (
	// StatsPasswordFile opens the balancer's statistics page.
	StatsPasswordFile = "secrets/" + secretStatsPassword
	// RedisPasswordFile opens the queues, PostgresPasswordFile the database.
	RedisPasswordFile    = "secrets/" + secretRedisPassword
	PostgresPasswordFile = "secrets/" + secretPostgresPassword
)

// secret is one file below .lab/secrets.
type secret struct {
	name     string
	generate func() (string, error)
}

// secrets in the order in which they are made; none depends on another but the derived ones.
func secrets() []secret {
	return []secret{
		{secretRedisPassword, password},
		{secretPostgresPassword, password},
		{secretVoterKey, func() (string, error) {
			key := make([]byte, 32)
			if _, err := rand.Read(key); err != nil {
				return "", err
			}
			return hex.EncodeToString(key), nil
		}},
		{secretStatsPassword, password},
		{secretConsulManagement, token},
		{secretConsulNode, token},
	}
}

// password draws 130 bits as letters and digits, which need quoting nowhere: not in URLs, shells, ACL files or haproxy.cfg.
func password() (string, error) { return rand.Text(), nil }

func token() (string, error) {
	id, err := uuid.NewRandom()
	if err != nil {
		return "", err
	}
	return id.String(), nil
}

// secretsOf returns the names of the secrets that a role's node is given.
func secretsOf(role string) []string {
	common := []string{secretConsulNode}
	switch role {
	case topology.RoleManager:
		return append(common, secretConsulManagement)
	case topology.RoleInterlock:
		return append(common, secretStatsPassword)
	case topology.RoleFrontend:
		return append(common, secretRedisPassword, secretRedisUsers, secretVoterKey)
	case topology.RoleWorker:
		return append(common, secretRedisPassword, secretPostgresPassword)
	case topology.RoleStore:
		return append(common, secretPostgresPassword)
	default:
		return common
	}
}

// keepSecrets makes the secrets that are missing in dir and returns all by name.
func keepSecrets(dir string) (map[string]string, error) {
	values := map[string]string{}
	for _, s := range secrets() {
		path := filepath.Join(dir, s.name)
		content, err := os.ReadFile(path)
		switch {
		case err == nil && len(content) > 0:
			values[s.name] = string(content)
			if err := writeFile(path, content); err != nil {
				return nil, err
			}
			continue
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("read a secret: %w", err)
		}
		value, err := s.generate()
		if err != nil {
			return nil, fmt.Errorf("draw %s: %w", s.name, err)
		}
		if err := writeFile(path, []byte(value)); err != nil {
			return nil, err
		}
		values[s.name] = value
	}
	values[secretRedisUsers] = redisUsers(values[secretRedisPassword])
	return values, writeFile(filepath.Join(dir, secretRedisUsers), []byte(values[secretRedisUsers]))
}

// redisUsers is the content of Redis' ACL file, so that Redis' own configuration holds only the password's hash.
func redisUsers(password string) string {
	sum := sha256.Sum256([]byte(password))
	return "user default on #" + hex.EncodeToString(sum[:]) + " ~* &* +@all\n"
}
