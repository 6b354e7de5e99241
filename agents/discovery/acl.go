package discovery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/hashicorp/consul/api"
)

// policyName and policyRules are what the nodes may do.
const (
	policyName  = "swarmlab-node"
	policyRules = `service_prefix "" { policy = "write" }
node_prefix "" { policy = "write" }
agent_prefix "" { policy = "read" }
`
)

// ensureNodeToken makes the nodes' token with the management token unless Consul knows it: at the first start, and after a wipe.
func (c *Client) ensureNodeToken(ctx context.Context) error {
	token, err := c.cfg.Token()
	if err != nil {
		return err
	}
	node, err := c.client()
	if err != nil {
		return err
	}
	_, _, err = node.ACL().TokenReadSelf((&api.QueryOptions{}).WithContext(ctx))
	if err == nil {
		return nil
	}
	var status api.StatusError
	if !errors.As(err, &status) || status.Code != http.StatusForbidden {
		return c.wording(err)
	}
	managementToken, err := c.cfg.Management()
	if err != nil {
		return err
	}
	management, transport, err := newAPI(c.cfg.Consul, managementToken)
	if err != nil {
		return err
	}
	defer transport.CloseIdleConnections()
	changed, err := EnsureACL(ctx, management, token)
	if err != nil {
		return fmt.Errorf("make the nodes' token: %w", c.wording(err))
	}
	if changed {
		c.log.Info("made the nodes' token in Consul")
	}
	return nil
}

// EnsureACL makes sure that Consul has the nodes' policy and a token with the given secret that carries it. It says whether anything was
// missing. management must be a client with the management token.
func EnsureACL(ctx context.Context, management *api.Client, nodeToken string) (changed bool, err error) {
	acl := management.ACL()
	q, w := (&api.QueryOptions{}).WithContext(ctx), (&api.WriteOptions{}).WithContext(ctx)
	policy, _, err := acl.PolicyReadByName(policyName, q)
	switch {
	case err != nil && !isNotFound(err):
		return false, err
	case err != nil || policy == nil:
		if _, _, err = acl.PolicyCreate(&api.ACLPolicy{Name: policyName, Description: "What the lab's nodes may do", Rules: policyRules}, w); err != nil {
			return false, err
		}
		changed = true
	case policy.Rules != policyRules:
		policy.Rules = policyRules
		if _, _, err = acl.PolicyUpdate(policy, w); err != nil {
			return false, err
		}
		changed = true
	}
	link := []*api.ACLLink{{Name: policyName}}
	q.Token = nodeToken
	token, _, err := acl.TokenReadSelf(q)
	switch {
	case err == nil && len(token.Policies) == 1 && token.Policies[0].Name == policyName:
		return changed, nil
	case err == nil:
		token.Policies = link
		_, _, err = acl.TokenUpdate(token, w)
		return true, err
	case !isNotFound(err):
		return changed, err
	}
	_, _, err = acl.TokenCreate(&api.ACLToken{SecretID: nodeToken, Description: "The lab's nodes", Policies: link}, w)
	return true, err
}

// isNotFound recognises what Consul says of policies and tokens that it does not know: 404, and 403 with these words.
func isNotFound(err error) bool {
	var status api.StatusError
	return errors.As(err, &status) && (status.Code == http.StatusNotFound || strings.Contains(status.Body, "not found"))
}
