package postgres

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// Looking a name up ends with its limit, or when IPv4 has answered and IPv6 has had its time.
func TestLookUp(t *testing.T) {
	four, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("fe80::1%eth0")
	for name, c := range map[string]struct {
		all, ipv4 time.Duration // until there is an answer; 0: never
		want      []string
		after     time.Duration
	}{
		"both":          {time.Second, 0, []string{"fe80::1%eth0", "192.0.2.1"}, time.Second},
		"IPv4 alone":    {0, time.Second, []string{"192.0.2.1"}, ipv6Delay + time.Second},
		"both, late":    {14 * time.Second, 0, []string{"fe80::1%eth0", "192.0.2.1"}, 14 * time.Second},
		"nothing":       {0, 0, nil, lookupLimit},
		"after the end": {16 * time.Second, 16 * time.Second, nil, lookupLimit},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := resolver(func(ctx context.Context, network, _ string) ([]netip.Addr, error) {
					delay, found := c.all, []netip.Addr{six, four}
					if network == "ip4" {
						delay, found = c.ipv4, found[1:]
					}
					if delay == 0 {
						delay = time.Hour
					}
					select {
					case <-ctx.Done():
						return nil, &net.DNSError{IsTimeout: true}
					case <-time.After(delay):
						return found, nil
					}
				})
				began := time.Now()
				got, err := server.lookUp(t.Context(), "db")
				if !slices.Equal(got, c.want) || (err == nil) != (c.want != nil) || time.Since(began) != c.after {
					t.Errorf("%v, %v after %s, want %v after %s", got, err, time.Since(began), c.want, c.after)
				}
				synctest.Wait()
			})
		})
	}
}

// A name that is not known is not waited for.
func TestLookUpUnknownName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, unknown := time.Now(), &net.DNSError{IsNotFound: true}
		_, err := resolver(func(context.Context, string, string) ([]netip.Addr, error) { return nil, unknown }).lookUp(t.Context(), "db")
		if !errors.Is(err, unknown) || time.Since(began) != 0 {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}
