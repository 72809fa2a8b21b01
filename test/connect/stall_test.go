package connect

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"evolution-openai-patch/test/pgtest"
)

// In TestStalls, a run whose connection stalls has these limits. The runs before and after it have the default ones, so that
// they succeed on a slow machine too.
const (
	stallLimit     = 300 * time.Millisecond // PATCH_CONNECT_TIMEOUT
	stallWaitLimit = 5 * time.Second        // PATCH_WAIT_TIMEOUT
)

// stallCase is what the program does while its connection stalls.
type stallCase struct {
	name    string
	from    *pgtest.Database
	environ []string
	undo    []string // the environment of a run that undoes it; nil if there is nothing to undo
}

// A connection that stalls after any byte leaves no lock for longer than PATCH_CONNECT_TIMEOUT. The program ends in time,
// and its change is either complete or not made.
func TestStalls(t *testing.T) {
	t.Parallel()
	stride := int64(1000) // bytes from one stall to the next
	if n, err := strconv.ParseInt(os.Getenv("STALL_STRIDE"), 10, 64); err == nil {
		stride = n
	}
	for _, c := range stallCases(t) {
		c.environ = append([]string{pgtest.AllFixes}, c.environ...)
		for _, client := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/client=%t", c.name, client), func(t *testing.T) {
				after, bytes := c.undisturbed(t, client)
				databases := make(chan *pgtest.Database, 4*runtime.GOMAXPROCS(0)) // more would take each other's time until the limit
				for range cap(databases) {
					d := c.from.Clone(t)
					defer d.Drop()
					d.Conn = d.Server.Connect(t, d.Name)
					databases <- d
				}
				var group sync.WaitGroup
				first := 1 + rand.Int64N(stride)
				t.Logf("a stall every %d bytes from byte %d of %d", stride, first, bytes)
				for n := first; n < bytes; n += stride {
					d := <-databases
					group.Go(func() {
						defer func() { databases <- d }()
						c.stall(t, d, client, n, after)
					})
				}
				group.Wait()
			})
		}
	}
}

func stallCases(t *testing.T) []stallCase {
	unpatched := pgtest.NewEvolution(t, "evolution_api")
	unpatched.InsertCredentials(30)
	patched := pgtest.NewEvolution(t, "evolution_api")
	patched.InsertCredentials(30)
	patched.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ")
	empty := pgtest.NewDatabase(t, "evolution_api")
	for _, d := range []*pgtest.Database{unpatched, patched, empty} {
		_ = d.Conn.Close(context.Background()) // Clone requires that there are no sessions
	}
	revert := []string{pgtest.AllFixes, "PATCH_ACTION=revert"}
	return []stallCase{
		{"status", patched, []string{"PATCH_ACTION=status"}, nil},
		{"apply", unpatched, nil, revert},
		{"revert", patched, []string{"PATCH_ACTION=revert"}, []string{pgtest.AllFixes}},
		{"guard", empty, []string{pgtest.Guard}, revert},
		{"backup", unpatched, []string{"PATCH_BACKUP_DIR=" + t.TempDir()}, revert},
	}
}

// run runs the program through a partition.
func (c stallCase) run(t *testing.T, d *pgtest.Database, p *pgtest.Partition, limits ...string) pgtest.Outcome {
	t.Helper()
	return pgtest.Run(t, slices.Concat(c.environ, limits, []string{"DATABASE_CONNECTION_URI=" + d.URIThrough(p.Address())})...)
}

// undisturbed returns the state after a run without a stall, and how many bytes the client, or the server, sent in it.
func (c stallCase) undisturbed(t *testing.T, client bool) (after string, bytes int64) {
	t.Helper()
	p, d := pgtest.NewPartition(t, pgtest.Shared.Address(), client, 0), c.from.Clone(t)
	defer d.Drop()
	d.Conn = d.Server.Connect(t, d.Name)
	c.run(t, d, p).Expect(t, 0)
	return patchState(d), p.Passed.Load()
}

// stall runs the program with a connection that stalls after n bytes, and then without. The latter leaves the state after,
// which is undone at the end.
func (c stallCase) stall(t *testing.T, d *pgtest.Database, client bool, n int64, after string) {
	before := patchState(d)
	p := pgtest.NewPartition(t, pgtest.Shared.Address(), client, n)
	began := time.Now()
	done := make(chan pgtest.Outcome, 1)
	go func() {
		done <- c.run(t, d, p, "PATCH_CONNECT_TIMEOUT="+stallLimit.String(), "PATCH_WAIT_TIMEOUT="+stallWaitLimit.String())
	}()
	var o pgtest.Outcome
	select {
	case <-p.Stalled:
	case o = <-done: // this run sent fewer bytes
		done <- o
	}
	stalled := time.Now()
	if err := pgtest.Until(func() error {
		if held := d.HeldLocks(); held != "" {
			return errors.New(held)
		}
		return nil
	}); err != nil {
		t.Errorf("byte %d: %v after the stall the program holds: %v", n, time.Since(stalled), err)
	}
	o = <-done
	p.Close()
	if took := time.Since(began); took > stallWaitLimit+3*time.Second || !slices.Contains([]int{0, 1, 4}, o.Code) {
		t.Errorf("byte %d: exit status %d after %v", n, o.Code, took)
	}
	now := patchState(d)
	if now != before && now != after {
		t.Errorf("byte %d: the change is incomplete:\n%s", n, now)
	}
	d.Patch(c.environ...).Expect(t, 0)
	if now = patchState(d); now != after {
		t.Errorf("byte %d: after a second run the state is\n%s\nwant\n%s", n, now, after)
	}
	if c.undo == nil {
		return
	}
	d.Patch(c.undo...).Expect(t, 0, "changed=true")
	if now = patchState(d); now != before {
		t.Errorf("byte %d: after it was undone the state is\n%s\nwant\n%s", n, now, before)
	}
}

// patchState returns what the program changes: the table's keys, indexes and triggers, functions and event triggers.
func patchState(d *pgtest.Database) string {
	keys := ""
	if d.Text(`to_regclass('evolution_api."OpenaiCreds"') IS NOT NULL`) == "true" {
		keys = d.Text(`SELECT md5(string_agg(id || coalesce("apiKey", ''), '|' ORDER BY id)) FROM evolution_api."OpenaiCreds"`)
	}
	return keys + d.Text(`SELECT concat_ws(E'\n', '', (SELECT string_agg(indexdef, ',' ORDER BY indexdef) FROM pg_indexes WHERE tablename = 'OpenaiCreds'),
		(SELECT string_agg(tgname::text || tgenabled::text, ',') FROM pg_trigger WHERE NOT tgisinternal), (SELECT string_agg(proname::text, ',') FROM pg_proc WHERE proname LIKE 'evolution%'),
		(SELECT string_agg(evtname::text || evtenabled::text, ',') FROM pg_event_trigger))`)
}
