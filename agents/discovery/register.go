package discovery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/hashicorp/consul/api"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
)

// keepRegistered makes a round at each Interval, at each change of the offer, and soon after one that failed.
func (c *Client) keepRegistered(ctx context.Context) error {
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval, retry.MaxInterval = c.cfg.times.retryFirst, c.cfg.times.retryMost
	for {
		registered, err := c.round(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		pause := c.cfg.times.interval
		if err != nil {
			pause = retry.NextBackOff()
		} else {
			retry.Reset()
		}
		c.report(registered, err)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-c.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// report notes the outcome of a round.
func (c *Client) report(registered []string, err error) {
	c.mu.Lock()
	was := c.status
	c.status.Err, c.status.Reachable = err, err == nil
	if err == nil {
		// What stood before Consul went away may still stand; only an answer tells.
		c.status.Registered = registered
	}
	if was.Reachable != c.status.Reachable {
		c.status.Since = time.Now()
	}
	now := c.status
	c.mu.Unlock()
	changed := was.Reachable != now.Reachable || !slices.Equal(was.Registered, now.Registered) || fmt.Sprint(was.Err) != fmt.Sprint(now.Err)
	if !changed {
		return
	}
	if err != nil {
		c.log.Warn("services cannot be registered", "error", err)
	} else {
		c.log.Info("services are registered", "ids", registered)
	}
	notify(c.changed)
}

// round brings this node's part of the catalogue in line with what it offers, and confirms it. It returns the ids that stand.
func (c *Client) round(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.times.call)
	defer cancel()
	if c.cfg.Management != nil {
		if err := c.ensureNodeToken(ctx); err != nil {
			return nil, err
		}
	}
	consul, err := c.client()
	if err != nil {
		return nil, err
	}
	there, err := c.registered(ctx, consul, c.cfg.Node)
	if err != nil {
		return nil, c.wording(err)
	}
	wanted, complete := c.wanted()
	for _, w := range wanted {
		if is, ok := there[w.ID]; ok && same(is, w) {
			continue
		}
		opts := api.ServiceRegisterOpts{ReplaceExistingChecks: true}.WithContext(ctx)
		if err := consul.Agent().ServiceRegisterOpts(w, opts); err != nil {
			return nil, fmt.Errorf("register service %s: %w", w.ID, c.wording(err))
		}
	}
	ids := make([]string, 0, len(wanted))
	for _, w := range wanted {
		ids = append(ids, w.ID)
	}
	for id := range there {
		switch {
		case slices.Contains(ids, id):
		case complete:
			if err := c.deregister(ctx, consul, id); err != nil {
				return nil, err
			}
		default: // left by an agent before this one
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		// Also right after registering: that alone leaves an expired check as it was.
		q := (&api.QueryOptions{}).WithContext(ctx)
		if err := consul.Agent().UpdateTTLOpts(checkID(id), "the node's agent says so", api.HealthPassing, q); err != nil {
			return nil, fmt.Errorf("confirm service %s: %w", id, c.wording(err))
		}
	}
	return ids, nil
}

// registered returns a node's services as Consul has them, by id.
func (c *Client) registered(ctx context.Context, consul *api.Client, node string) (map[string]*api.AgentService, error) {
	q := (&api.QueryOptions{}).WithContext(ctx)
	return consul.Agent().ServicesWithFilterOpts(fmt.Sprintf("Meta.%s == %q", metaNode, node), q)
}

func (c *Client) deregister(ctx context.Context, consul *api.Client, id string) error {
	err := consul.Agent().ServiceDeregisterOpts(id, (&api.QueryOptions{}).WithContext(ctx))
	var status api.StatusError
	if err == nil || errors.As(err, &status) && status.Code == http.StatusNotFound {
		return nil
	}
	return fmt.Errorf("deregister service %s: %w", id, c.wording(err))
}

// wanted is what should stand in the catalogue for this node; complete says that nothing else should.
func (c *Client) wanted() (list []*api.AgentServiceRegistration, complete bool) {
	c.mu.Lock()
	offered, complete := c.offered, c.said
	c.mu.Unlock()
	self := &rolev1.Service{Name: AgentService, Port: uint32(c.cfg.AgentPort)}
	for _, s := range append([]*rolev1.Service{self}, offered...) {
		id := c.cfg.Node + "/" + s.GetName()
		list = append(list, &api.AgentServiceRegistration{
			ID: id, Name: s.GetName(), Tags: s.GetTags(), Address: c.cfg.Address, Port: int(s.GetPort()),
			Meta:  map[string]string{metaNode: c.cfg.Node, metaLab: c.cfg.Lab},
			Check: &api.AgentServiceCheck{CheckID: checkID(id), TTL: strconv.Itoa(int(c.cfg.times.ttl.Seconds())) + "s", Status: api.HealthPassing},
		})
	}
	return list, complete
}

func checkID(serviceID string) string { return "service:" + serviceID }

func same(is *api.AgentService, w *api.AgentServiceRegistration) bool {
	return is.Service == w.Name && is.Address == w.Address && is.Port == w.Port && slices.Equal(is.Tags, w.Tags) && maps.Equal(is.Meta, w.Meta)
}
