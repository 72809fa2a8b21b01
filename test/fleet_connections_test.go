package test

import (
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"

	"evolution-openai-patch/test/pgtest"
)

// counter counts the connections of a role, all the time.
type counter struct {
	stop   chan struct{}
	counts chan [2]int
}

// countConnections begins to count the connections of a role.
func (f *fleet) countConnections(role string) *counter {
	f.t.Helper()
	c := f.open("postgres")
	k := &counter{make(chan struct{}), make(chan [2]int, 1)}
	go k.run(f.t, c, role)
	return k
}

func (k *counter) run(t testing.TB, c *pgx.Conn, role string) {
	fewest, most := 1000, 0
	defer func() { k.counts <- [2]int{fewest, most} }()
	for {
		select {
		case <-k.stop:
			return
		default:
		}
		n, err := strconv.Atoi(pgtest.Text(t, c, "SELECT count(*) FROM pg_stat_activity WHERE usename = $1", role))
		if err != nil {
			t.Error(err)
			return
		}
		fewest, most = min(fewest, n), max(most, n)
	}
}

// end ends the counting, and returns the fewest and the most connections that were seen at once.
func (k *counter) end() (fewest, most int) {
	close(k.stop)
	counts := <-k.counts
	return counts[0], counts[1]
}

// There are never more connections than PATCH_CONNECTIONS: the server counts them, and allows the role no more.
func TestFleetConnections(t *testing.T) {
	f := newFleet(t)
	names := numbered("cn_", 40)
	f.add(names...)
	uri := f.addRole("cn_app", "")
	f.give("cn_app", names...)
	for _, c := range []struct {
		limit   string
		environ []string
		lines   int
	}{
		{"1", []string{"PATCH_CONNECTIONS=1", "PATCH_DRY_RUN=true"}, 40},
		{"2", []string{"PATCH_CONNECTIONS=2"}, 40},
		{"4", []string{"PATCH_ACTION=status"}, 40},
		{"3", []string{"PATCH_CONNECTIONS=3", "PATCH_ACTION=revert", "DATABASE_CONNECTION_URI=" + uri + " " + uri}, 80},
		{"7", []string{"PATCH_CONNECTIONS=7", "DATABASE_CONNECTION_URI=" + uri + " " + uri}, 80},
	} {
		pgtest.Exec(t, f.admin, "ALTER ROLE cn_app CONNECTION LIMIT "+c.limit)
		counter := f.countConnections("cn_app")
		o := f.as(uri, "cn_*", c.environ...)
		_, most := counter.end()
		o.Expect(t, 0)
		o.ExpectNot(t, "too many connections", "53300")
		if limit, _ := strconv.Atoi(c.limit); most > limit || most == 0 {
			t.Errorf("%d connections at once, the limit is %d", most, limit)
		}
		if n := len(linesOf(o)); n != c.lines {
			t.Errorf("%d lines, want %d", n, c.lines)
		}
	}
}
