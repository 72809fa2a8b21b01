package postgres

import (
	"context"
	"net/netip"
	"time"
)

const (
	lookupLimit = 15 * time.Second // for one host name; a nameserver that is down takes 5 s until the next one is asked
	ipv6Delay   = 2 * time.Second  // after that, the addresses of IPv4 do not wait for those of IPv6
)

// resolver looks a host name up, as the method LookupNetIP of a net.Resolver does.
type resolver func(ctx context.Context, network, host string) ([]netip.Addr, error)

// lookUp returns the addresses of a host name within lookupLimit. Some nameservers never answer a question for addresses of IPv6:
// then it returns those of IPv4 alone.
func (r resolver) lookUp(ctx context.Context, host string) (addresses []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookupLimit)
	defer cancel()
	type answer struct {
		found []netip.Addr
		err   error
	}
	ask := func(network string, answers chan<- answer) {
		found, err := r(ctx, network, host)
		answers <- answer{found, err}
	}
	all, ipv4 := make(chan answer, 1), make(chan answer, 1)
	go ask("ip", all)
	defer time.AfterFunc(ipv6Delay, func() { ask("ip4", ipv4) }).Stop()
	var a answer
	select {
	case a = <-all:
	case a = <-ipv4:
		if a.err != nil {
			a = <-all
		}
	}
	for _, address := range a.found {
		addresses = append(addresses, address.Unmap().String())
	}
	return addresses, a.err
}
