package lab

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// atOnce is the number of cuts that are made at the same time, each on databases of its own.
const atOnce = 6

// The network breaks before, in or after any message of the client or the server, by FIN, RST or silence, for once or for
// good. The program ends in time with the right exit status and says in one line what is true, the databases are as before
// or as after, no session of its keeps a lock, and a second run does the rest.
func TestCutsAtMessages(t *testing.T) {
	t.Parallel()
	r := draw(t)
	for _, c := range conversations(t) {
		t.Run(c.name, func(t *testing.T) {
			var cuts []*pgtest.Cut
			b := c.newBench(t)
			for _, client := range []bool{true, false} {
				messages, _ := b.measure(client)
				all := messageCuts(client, messages)
				cuts = append(cuts, pick(r, all, amount(12, len(all)))...) // the client sends few messages, each of which matters
			}
			c.makeCuts(t, "cuts at messages", cuts)
		})
	}
}

// messageCuts returns every cut at a message of one side.
func messageCuts(client bool, messages int) (cuts []*pgtest.Cut) {
	for n := 1; n <= messages; n++ {
		for _, place := range []pgtest.Place{pgtest.Before, pgtest.Middle, pgtest.After} {
			for _, end := range []pgtest.End{pgtest.FIN, pgtest.RST, pgtest.Silence} {
				for _, later := range []pgtest.Later{pgtest.Served, pgtest.Refused, pgtest.Denied} {
					cuts = append(cuts, &pgtest.Cut{Client: client, Message: n, Place: place, End: end, Later: later})
				}
			}
		}
	}
	return cuts
}

// The same after any byte, by FIN or RST. Most of these runs end there, which leaves time for more. TestStalls has the
// silence.
func TestCutsAtBytes(t *testing.T) {
	t.Parallel()
	r := draw(t)
	for _, c := range conversations(t)[:4] {
		t.Run(c.name, func(t *testing.T) {
			var cuts []*pgtest.Cut
			b := c.newBench(t)
			stride := 1000 / amount(1, 1000)
			for _, client := range []bool{true, false} {
				_, bytes := b.measure(client)
				for n := 1 + r.IntN(stride); n < bytes; n += stride {
					cut := &pgtest.Cut{Client: client, Byte: n, End: pgtest.End(r.IntN(2)), Later: pgtest.Denied}
					if r.IntN(10) == 0 {
						cut.Later = pgtest.Served
					}
					cuts = append(cuts, cut)
				}
			}
			c.makeCuts(t, "cuts at bytes", cuts)
		})
	}
}

// pick returns n of the cuts.
func pick(r *rand.Rand, cuts []*pgtest.Cut, n int) []*pgtest.Cut {
	r.Shuffle(len(cuts), func(i, j int) { cuts[i], cuts[j] = cuts[j], cuts[i] })
	return slices.Clip(cuts[:min(n, len(cuts))])
}

// makeCuts makes every cut, some at a time.
func (c *conversation) makeCuts(t *testing.T, kind string, cuts []*pgtest.Cut) {
	todo := make(chan *pgtest.Cut)
	var group sync.WaitGroup
	for range min(atOnce, len(cuts)) {
		b := c.newBench(t)
		group.Go(func() {
			for cut := range todo {
				isolated(func() { b.cut(kind, cut) })
			}
		})
	}
	for _, cut := range cuts {
		todo <- cut
	}
	close(todo)
	group.Wait()
}

// cut makes one cut, and a second run.
func (b *bench) cut(kind string, c *pgtest.Cut) {
	address, err := c.Listen(pgtest.Shared.Address())
	if err != nil {
		b.t.Error(err)
		return
	}
	locks := make(chan error, 1)
	go func() { locks <- b.checkLocks(c) }()
	o, took := b.run(address, append(slices.Clip(b.environ), "PATCH_WAIT_TIMEOUT="+waitTimeouts[c.Later].String())...)
	over := c.Break()
	if over {
		b.t.Logf("%v: the run was over before", c) // its last message need not be read
		c.Close()                                  // and may still be on its way
	} else {
		counts.add(kind, 1)
	}
	if err := <-locks; err != nil {
		counts.violation(b.t, kind, "%v: %v", c, err)
	}
	if err := b.check(c, o, took); err != nil {
		counts.violation(b.t, kind, "%v: %v\n%s%s", c, err, o.Stderr, o.Stdout)
	}
	if !over {
		c.Close()
	}
	if c.Byte > 0 && c.Later == pgtest.Denied && c.Byte%16 > 0 && b.databases[0].Snapshot() == b.before {
		return // the next cut may use the database
	}
	if o, _ := b.run(pgtest.Shared.Address(), b.environ...); o.Code != 0 {
		counts.violation(b.t, kind, "%v: the second run: exit status %d\n%s%s", c, o.Code, o.Stderr, o.Stdout)
	}
	for _, d := range b.databases {
		if now := d.Snapshot(); now != b.after {
			counts.violation(b.t, kind, "%v: after a second run, %s differs:\n%s", c, d.Name, pgtest.FirstDifference(b.after, now))
		}
	}
	b.reset()
}
