package fleet

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// While the databases cannot be listed, what is known of them stays, and they are handled. After that new ones are found again.
func TestFleetWatchCannotListForAWhile(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	f.add("wl_a", "wl_b")
	f.addEmpty("wl_list")
	uri := strings.Replace(f.addRole("wl_role", ""), "/postgres?", "/wl_list?", 1)
	f.give("wl_role", "wl_a", "wl_b")
	p := pgtest.Start(t, "DATABASE_CONNECTION_URI="+uri, "PATCH_DATABASES=wl_[a-z],wl_a", "PATCH_WATCH=100ms", inJSON)
	f.waitUntilPatched(p, "wl_a", "wl_b")
	pgtest.Exec(t, f.admin, "REVOKE CONNECT ON DATABASE wl_list FROM PUBLIC")
	p.WaitFor(pgtest.MayNotConnect)
	f.mustRepair(p, "wl_a", "wl_b")
	f.add("wl_c")
	f.give("wl_role", "wl_c")
	pgtest.Exec(t, f.admin, "GRANT CONNECT ON DATABASE wl_list TO PUBLIC")
	f.waitUntilPatched(p, "wl_c")
	pgtest.Exec(t, f.admin, "ALTER DATABASE wl_list CONNECTION LIMIT 0")
	p.WaitFor("too many connections for database")
	f.mustRepair(p, "wl_a", "wl_b", "wl_a", "wl_b") // rounds go on while the listing waits
	o := p.Stop(syscall.SIGTERM)
	o.Expect(t, 0)
	reportOf(t, o).expect(t, all("patched", "wl_a", "wl_b", "wl_c"))
	o.ExpectNot(t, `"changed":false`)
	if n := strings.Count(o.Stderr, pgtest.MayNotConnect); n != 1 {
		t.Errorf("the failure is logged %d times, want once", n)
	}
}

// Databases that are named are handled even if the others cannot be listed, which is one more line.
func TestFleetCannotList(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	f.add("cl_a", "cl_b")
	f.addEmpty("cl_list")
	uri := strings.Replace(f.addRole("cl_role", ""), "/postgres?", "/cl_list?", 1)
	f.give("cl_role", "cl_a", "cl_b")
	pgtest.Exec(t, f.admin, "REVOKE CONNECT ON DATABASE cl_list FROM PUBLIC")
	want := all("patched", "cl_a").and(all("failed", "cl_list *"))
	o := f.as(uri, "cl_a,cl_*", "PATCH_CONNECTIONS=1")
	o.Expect(t, 1)
	reportOf(t, o).expect(t, want)
	expectLast(t, o, "done: 1 patched (1 changed), 1 failed")
	p := pgtest.Start(t, "DATABASE_CONNECTION_URI="+uri, "PATCH_DATABASES=cl_a,cl_*", inJSON, "PATCH_WATCH=100ms")
	p.WaitFor(`"msg":"` + pgtest.Watching)
	f.mustRepair(p, "cl_a")
	o = p.Stop(syscall.SIGTERM)
	o.Expect(t, 0)
	reportOf(t, o).expect(t, want)
	o = f.as(uri, "cl_*", "PATCH_WATCH=1h") // nothing is named, so everything fails in the first round
	o.Expect(t, 1)
	reportOf(t, o).expect(t, all("failed", "cl_list *"))
	pgtest.Exec(t, f.admin, "GRANT CONNECT ON DATABASE cl_list TO PUBLIC; ALTER DATABASE cl_list CONNECTION LIMIT 0")
	o = f.as(uri, "cl_a,cl_*", "PATCH_CONNECTIONS=1", pgtest.Shortly)
	o.Expect(t, 4, pgtest.GaveUp+pgtest.ShortWait)
	reportOf(t, o).expect(t, want)
}

// A database refuses connections for a while, for each of the reasons that it can have. The other one is handled meanwhile.
func TestFleetWatchOfADatabaseThatRefusesConnections(t *testing.T) {
	t.Parallel()
	tests := 0
	for name, c := range map[string]struct{ refuse, allow, named, found string }{
		"allow":   {"ALTER DATABASE wf_a ALLOW_CONNECTIONS false", "ALTER DATABASE wf_a ALLOW_CONNECTIONS true", "is not currently accepting connections", pgtest.DatabaseGone},
		"connect": {"REVOKE CONNECT ON DATABASE wf_a FROM PUBLIC", "GRANT CONNECT ON DATABASE wf_a TO PUBLIC", pgtest.MayNotConnect, pgtest.LeftOut},
		"limit":   {"ALTER DATABASE wf_a CONNECTION LIMIT 0", "ALTER DATABASE wf_a CONNECTION LIMIT -1", "too many connections for database", "too many connections for database"},
	} {
		for databases, reason := range map[string]string{"wf_a,wf_b": c.named, "wf_[ab]": c.found} {
			tests++
			prefix := fmt.Sprintf("wf%d_", tests) // of databases of this test's own
			t.Run(name+" "+databases, func(t *testing.T) {
				t.Parallel()
				sql := func(s string) string { return strings.ReplaceAll(s, "wf_", prefix) }
				f := fleetOn(t, pgtest.Shared)
				f.add(prefix+"a", prefix+"b")
				uri := f.addRole(prefix+"role", "")
				f.give(prefix+"role", prefix+"a", prefix+"b")
				p := pgtest.Start(t, "DATABASE_CONNECTION_URI="+uri, "PATCH_DATABASES="+sql(databases), "PATCH_WATCH=100ms", "PATCH_CONNECTIONS=1", inJSON)
				p.WaitFor(`"msg":"` + pgtest.Watching)
				f.waitUntilPatched(p, prefix+"a", prefix+"b")
				f.mustRepair(p, prefix+"a")
				pgtest.Exec(t, f.admin, sql(c.refuse))
				p.WaitFor(reason)
				f.mustRepair(p, prefix+"b")
				pgtest.Exec(t, f.admin, sql(c.allow))
				f.mustRepair(p, prefix+"a", prefix+"b")
				o := p.Stop(syscall.SIGTERM)
				o.Expect(t, 0)
				reportOf(t, o).expect(t, all("patched", prefix+"a", prefix+"b"))
				expectLast(t, o, "done: 2 patched (2 changed)")
			})
		}
	}
}

// One of two servers is stopped and started again: the other goes on, and the first recovers.
func TestFleetWatchOfTwoServers(t *testing.T) {
	t.Parallel()
	f, other := fleetOn(t, pgtest.Shared), newFleet(t)
	f.add("w2_a")
	other.add("w2_b", "w2_c")
	for databases, named := range map[string][]string{"w2_*": {"w2_b", "w2_c"}, "w2_a,w2_b": {"w2_b"}} {
		p := pgtest.Start(t, "DATABASE_CONNECTION_URI="+other.URI("postgres", "")+" "+f.URI("postgres", ""), "PATCH_DATABASES="+databases, "PATCH_WATCH=100ms", "PATCH_LOG_LEVEL=debug")
		p.WaitFor("msg=" + pgtest.Watching + " target=" + f.Address())
		other.mustRepair(p, named...)
		other.mustRepair(p, named...)
		other.Kill()
		p.WaitFor("connection refused")
		f.mustRepair(p, "w2_a", "w2_a")
		if err := other.Start(); err != nil {
			t.Fatal(err)
		}
		other.mustRepair(p, named...)
		other.mustRepair(p, named...) // when the second change is made, the first is known
		o := p.Stop(syscall.SIGTERM)
		o.Expect(t, 0, "patched: "+f.Address()+"/w2_a schema=public changed=true", "patched: "+other.Address()+"/w2_b schema=public changed=true")
		o.ExpectNot(t, "failed: ")
	}
}
