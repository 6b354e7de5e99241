package discovery

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/hashicorp/consul/api"
)

// followAll follows each of the wanted services, and ceases to follow those that no longer are.
func (c *Client) followAll(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	followed := map[string]context.CancelFunc{}
	defer func() {
		for _, cancel := range followed {
			cancel()
		}
	}()
	for {
		c.mu.Lock()
		wanted := slices.Clone(c.book.Follow)
		c.mu.Unlock()
		for _, name := range slices.Collect(maps.Keys(followed)) {
			if !slices.Contains(wanted, name) {
				followed[name]()
				delete(followed, name)
			}
		}
		for _, name := range wanted {
			if followed[name] == nil {
				one, cancel := context.WithCancel(ctx)
				followed[name] = cancel
				running.Go(func() { c.follow(one, name) })
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.refollow:
		}
	}
}

// follow keeps what is known of a service up to date.
func (c *Client) follow(ctx context.Context, name string) {
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval, retry.MaxInterval = c.cfg.times.retryFirst, c.cfg.times.retryMost
	var index uint64
	for ctx.Err() == nil {
		a, next, err := c.ask(ctx, name, index)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			index = 0
			c.learn(name, unanswered(c.known(name)))
			c.log.Debug("service cannot be followed", "service", name, "error", c.wording(err))
			timer := time.NewTimer(retry.NextBackOff())
			select {
			case <-ctx.Done():
			case <-timer.C:
			}
			timer.Stop()
			continue
		}
		retry.Reset()
		// Consul's rules for blocking queries: an index that went back starts anew, and 0 does not block.
		if next < index || next == 0 {
			next = 0
		}
		index = next
		known, doubtful := c.cfg.times.merge(c.known(name), a, time.Now())
		for _, d := range doubtful {
			if !c.cfg.Alive(ctx, d.instance()) && ctx.Err() == nil {
				known = slices.DeleteFunc(known, func(k entry) bool { return k.ID == d.ID })
			}
		}
		c.learn(name, known)
	}
}

var errFiltered = errors.New("the nodes' token may not see all services")

// ask waits for news of a service since index and returns what the catalogue lists.
func (c *Client) ask(ctx context.Context, name string, index uint64) (answer, uint64, error) {
	consul, err := c.client()
	if err != nil {
		return answer{}, 0, err
	}
	block := c.cfg.times.wait(c.known(name), time.Now(), c.cfg.times.block)
	ctx, cancel := context.WithTimeout(ctx, block+c.cfg.times.grace)
	defer cancel()
	list, meta, err := consul.Catalog().Service(name, "", (&api.QueryOptions{WaitIndex: index, WaitTime: block}).WithContext(ctx))
	if err == nil && meta.ResultsFilteredByACLs {
		err = errFiltered
	}
	if err != nil {
		return answer{}, 0, err
	}
	var a answer
	for _, s := range list {
		a.incarnation = s.ID
		e := entry{
			Service: name, ID: s.ServiceID, Node: s.ServiceMeta[metaNode], Address: s.ServiceAddress, Port: uint32(max(s.ServicePort, 0)), Incarnation: s.ID,
		}
		// Whoever has the token may register anything manually.
		if e.Node == "" {
			e.Node = s.Node
		}
		if e.Address == "" {
			e.Address = s.Address
		}
		if e.valid() {
			a.listed = append(a.listed, e)
		}
	}
	slices.SortFunc(a.listed, byID)
	if len(list) == 0 {
		// Nothing listed does not tell who says so; Consul's own entry does.
		own, _, err := consul.Catalog().Service("consul", "", (&api.QueryOptions{}).WithContext(ctx))
		if err != nil {
			return answer{}, 0, err
		}
		if len(own) == 0 {
			return answer{}, 0, errors.New("its catalogue does not list itself yet")
		}
		a.incarnation = own[0].ID
	}
	return a, meta.LastIndex, nil
}

func (c *Client) known(name string) []entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.book.Known[name]
}

// learn replaces what is known of a service.
func (c *Client) learn(name string, next []entry) {
	c.mu.Lock()
	was := c.book.Known[name]
	c.book.Known[name] = next
	c.mu.Unlock()
	same := func(a, b entry) bool { a.missing, b.missing = time.Time{}, time.Time{}; return a == b }
	if slices.EqualFunc(was, next, same) {
		return
	}
	ids := make([]string, 0, len(next))
	for _, e := range next {
		ids = append(ids, e.ID)
	}
	c.log.Info("instances of a service changed", "service", name, "ids", ids)
	c.save()
	notify(c.changed)
}

// save writes the book. A disk that is full is no reason to forget what is known.
func (c *Client) save() {
	c.saving.Lock() // the latest state is written last
	defer c.saving.Unlock()
	c.mu.Lock()
	b := cache{Follow: slices.Clone(c.book.Follow), Known: maps.Clone(c.book.Known)}
	c.mu.Unlock()
	if err := b.write(c.cfg.StateFile); err != nil {
		c.log.Error("what is known of services is not kept", "error", err)
	}
}
