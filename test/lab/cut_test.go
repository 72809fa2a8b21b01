package lab

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// atOnce is the number of cuts that are made at the same time, each on databases of its own. Many of them wait for a limit.
const atOnce = 8

// The network breaks before, in or after any message of the client or the server, by FIN, RST or silence, for once or for
// good. The program ends by itself with the right exit status and says in one line what is true, the databases are as before
// or as after, no session of its keeps a lock, and a second run does the rest.
func TestCutsAtMessages(t *testing.T) {
	t.Parallel()
	r := draw(t)
	for _, c := range conversations(t) {
		t.Run(c.name, func(t *testing.T) {
			var cuts []*pgtest.Network
			b := c.newBench(t)
			for _, client := range []bool{true, false} {
				messages, _ := b.measure(client)
				all := messageCuts(client, messages)
				cuts = append(cuts, pick(r, all, amount(10, len(all)))...) // the client sends few messages, each of which matters
			}
			c.makeCuts(t, "cuts at messages", cuts)
		})
	}
}

// messageCuts returns every cut at a message of one side.
func messageCuts(client bool, messages int) (cuts []*pgtest.Network) {
	for n := 1; n <= messages; n++ {
		for _, place := range []pgtest.Place{pgtest.Before, pgtest.Middle, pgtest.After} {
			for _, end := range []pgtest.End{pgtest.FIN, pgtest.RST, pgtest.Silence} {
				for _, later := range []pgtest.Later{pgtest.Served, pgtest.Refused, pgtest.Denied} {
					cuts = append(cuts, &pgtest.Network{Client: client, Message: n, Place: place, End: end, Later: later})
				}
			}
		}
	}
	return cuts
}

// The same after any byte by FIN or RST, most of which end the run, and after every 20th by silence, which takes longer.
func TestCutsAtBytes(t *testing.T) {
	t.Parallel()
	r := draw(t)
	for _, c := range conversations(t) {
		if c.size > 1 {
			continue // several connections send their bytes in no certain order
		}
		t.Run(c.name, func(t *testing.T) {
			var cuts []*pgtest.Network
			b := c.newBench(t)
			for _, client := range []bool{true, false} {
				_, bytes := b.measure(client)
				broken, silent := byteCuts(r, client, bytes)
				cuts = append(cuts, pick(r, broken, amount(6, len(broken)))...)
				cuts = append(cuts, pick(r, silent, amount(4, len(silent)))...)
			}
			c.makeCuts(t, "cuts at bytes", cuts)
		})
	}
}

// byteCuts returns a cut after each byte of one side, and a silence after every 20th.
func byteCuts(r *rand.Rand, client bool, bytes int) (broken, silent []*pgtest.Network) {
	for n := 1; n < bytes; n++ {
		cut := &pgtest.Network{Client: client, Byte: n, End: pgtest.End(r.IntN(2)), Later: pgtest.Denied}
		if r.IntN(10) == 0 {
			cut.Later = pgtest.Served
		}
		broken = append(broken, cut)
	}
	for n := 1 + r.IntN(20); n < bytes; n += 20 {
		silent = append(silent, &pgtest.Network{Client: client, Byte: n, End: pgtest.Silence})
	}
	return broken, silent
}

// pick returns n of the cuts.
func pick(r *rand.Rand, cuts []*pgtest.Network, n int) []*pgtest.Network {
	r.Shuffle(len(cuts), func(i, j int) { cuts[i], cuts[j] = cuts[j], cuts[i] })
	return slices.Clip(cuts[:min(n, len(cuts))])
}

// makeCuts makes every cut, some at a time.
func (c *conversation) makeCuts(t *testing.T, kind string, cuts []*pgtest.Network) {
	todo := make(chan *pgtest.Network)
	var group sync.WaitGroup
	for range min(atOnce, len(cuts)) {
		b := c.newBench(t)
		group.Go(func() {
			for n := range todo {
				isolated(func() { b.cut(kind, n) })
			}
		})
	}
	for _, n := range cuts {
		todo <- n
	}
	close(todo)
	group.Wait()
}

// cut runs the program while the network breaks, and then without.
func (b *bench) cut(kind string, n *pgtest.Network) {
	o, err := b.runUntilEnd(n)
	over := n.Break()
	if over {
		b.t.Logf("%v: the run was over before", n) // its last message need not be read
		n.Close()                                  // and may still be on its way
	} else {
		counts.add(kind, 1)
	}
	if err := errors.Join(err, b.checkLocks()); err != nil { // while a silent network is silent
		counts.violation(b.t, kind, "%v: %v\n%s%s", n, err, o.Stderr, o.Stdout)
		n.Close() // what is locked cannot be looked at
	}
	if err := b.check(n, o); err != nil {
		counts.violation(b.t, kind, "%v: %v\n%s%s", n, err, o.Stderr, o.Stdout)
	}
	n.Close()
	if n.Byte > 0 && n.Later == pgtest.Denied && n.Byte%16 > 0 && b.databases[0].Snapshot() == b.before {
		return // the next cut may use the database
	}
	if o := b.run(pgtest.Shared.Address(), b.environ...); o.Code != 0 {
		counts.violation(b.t, kind, "%v: the second run: exit status %d\n%s%s", n, o.Code, o.Stderr, o.Stdout)
	}
	for _, d := range b.databases {
		if now := d.Snapshot(); now != b.after {
			counts.violation(b.t, kind, "%v: after a second run, %s differs:\n%s", n, d.Name, pgtest.FirstDifference(b.after, now))
		}
	}
	b.reset()
}

// runUntilEnd runs the program through a network. It is an error if the program does not end before the network is closed.
func (b *bench) runUntilEnd(n *pgtest.Network) (o pgtest.Outcome, err error) {
	address, done := n.Listen(b.t, pgtest.Shared.Address()), make(chan pgtest.Outcome, 1)
	go func() { done <- b.run(address, append(slices.Clip(b.environ), limits(n)...)...) }()
	if err := pgtest.Until(func() error {
		select {
		case o = <-done:
			return nil
		default:
			return errors.New("the program does not end")
		}
	}); err != nil {
		n.Close()
		return <-done, err
	}
	return o, nil
}
