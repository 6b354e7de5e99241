// Package gcp stands in for github.com/hashicorp/vault/api/auth/gcp in the lab's own build of Consul: for a login at Vault by way of Google's cloud,
// which no lab has, the original brings that cloud's SDK.
package gcp

import (
	"context"
	"errors"

	"github.com/hashicorp/vault/api"
)

// GCPAuth would log in at Vault.
type GCPAuth struct{}

// LoginOption is an option of NewGCPAuth. None changes anything.
type LoginOption func(*GCPAuth) error

// NewGCPAuth always returns an error.
func NewGCPAuth(string, ...LoginOption) (*GCPAuth, error) {
	return nil, errors.New("this build of Consul does not ask Google's cloud")
}

// Login always returns an error.
func (*GCPAuth) Login(context.Context, *api.Client) (*api.Secret, error) {
	return nil, errors.New("this build of Consul does not ask Google's cloud")
}

// WithMountPath says where the login is mounted.
func WithMountPath(string) LoginOption { return nil }

// WithIAMAuth logs in as an account of a service.
func WithIAMAuth(string) LoginOption { return nil }

// WithGCEAuth logs in as a machine.
func WithGCEAuth() LoginOption { return nil }
