package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// partition is a network between the program and the server that passes bytes on until so many have come from one side,
// and then nothing more in either direction, while both ends keep their connection. Later connections are not disturbed.
type partition struct {
	listener net.Listener
	client   bool         // whether the bytes of the client are counted, or those of the server
	after    int64        // 0: never
	passed   atomic.Int64 // bytes so far
	stalled  chan struct{}
	once     sync.Once
	ended    chan struct{} // the test's
}

func newPartition(t *testing.T, to string, client bool, after int64) *partition {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &partition{listener: l, client: client, after: after, stalled: make(chan struct{}), ended: make(chan struct{})}
	t.Cleanup(func() { _ = l.Close(); close(p.ended) })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("tcp", to)
			if err != nil {
				_ = c.Close()
				continue
			}
			go p.join(c, s)
		}
	}()
	return p
}

func (p *partition) join(client, server net.Conn) {
	disturbed := !p.hasStalled()
	var group sync.WaitGroup
	group.Go(func() { p.pass(server, client, disturbed, p.client) })
	group.Go(func() { p.pass(client, server, disturbed, !p.client) })
	group.Wait()
	if disturbed && p.hasStalled() {
		<-p.ended
	}
	_, _ = client.Close(), server.Close()
}

func (p *partition) hasStalled() bool {
	select {
	case <-p.stalled:
		return true
	default:
		return false
	}
}

func (p *partition) pass(to, from net.Conn, disturbed, counted bool) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if disturbed && p.hasStalled() {
			return
		}
		if counted && disturbed {
			if total := p.passed.Add(int64(n)); p.after > 0 && total >= p.after {
				_, _ = to.Write(buffer[:int64(n)-(total-p.after)])
				p.once.Do(func() { close(p.stalled) })
				return
			}
		}
		if _, writeErr := to.Write(buffer[:n]); err != nil || writeErr != nil {
			if errors.Is(err, io.EOF) {
				_ = to.(*net.TCPConn).CloseWrite()
			}
			return
		}
	}
}

// A connection that stalls at any moment leaves no lock behind for longer than PATCH_CONNECT_TIMEOUT, the program ends in
// time, and what it was to do is done as a whole or not at all.
func TestStalls(t *testing.T) {
	const limit = 300 * time.Millisecond
	stride := int64(400) // bytes from one stall to the next; make stalls has 20
	if n, err := strconv.ParseInt(os.Getenv("STALL_STRIDE"), 10, 64); err == nil {
		stride = n
	}
	template := evolution(t, "evolution_api")
	template.rows(30)
	patched := evolution(t, "evolution_api")
	patched.rows(30)
	patched.patch(allFixes).expect(t, 0, "patched: ")
	empty := firstBoot(t, "evolution_api")
	for _, d := range []*database{template, patched, empty} {
		_ = d.conn.Close(context.Background()) // a template has no sessions
	}
	for _, c := range []struct {
		name    string
		from    *database
		environ []string
	}{
		{"status", patched, []string{"PATCH_ACTION=status"}},
		{"apply", template, nil},
		{"revert", patched, []string{"PATCH_ACTION=revert"}},
		{"guard", empty, []string{guard}},
		{"backup", template, []string{"PATCH_BACKUP_DIR=" + t.TempDir()}},
	} {
		for _, client := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/client=%t", c.name, client), func(t *testing.T) {
				environ := slices.Clip(append([]string{allFixes, "PATCH_CONNECT_TIMEOUT=" + limit.String(), "PATCH_WAIT_TIMEOUT=10s"}, c.environ...)) // each run appends its own
				whole := newPartition(t, "localhost:"+shared.port, client, 0)
				first := c.from.clone(t)
				execute(t, context.Background(), append(environ, "DATABASE_CONNECTION_URI="+uriFor("postgres", whole.listener.Addr().String(), first.name, first.schema))...).expect(t, 0)
				after, step := first.state(), stride
				if !client {
					step = stride * 5 / 2
				}
				var group sync.WaitGroup
				slots := make(chan struct{}, 16)
				for n := step; n < whole.passed.Load(); n += step {
					slots <- struct{}{}
					group.Go(func() {
						defer func() { <-slots }()
						d := c.from.clone(t)
						before := d.state()
						p := newPartition(t, "localhost:"+shared.port, client, n)
						began := time.Now()
						done := make(chan outcome, 1)
						go func() {
							done <- execute(t, context.Background(), append(environ, "DATABASE_CONNECTION_URI="+uriFor("postgres", p.listener.Addr().String(), d.name, d.schema))...)
						}()
						var o outcome
						select {
						case <-p.stalled:
						case o = <-done: // this time it said less
							done <- o
						}
						stalled := time.Now()
						if left := d.leftLocks(); left != "" {
							if err := until(limit+time.Second, func() error {
								if left := d.leftLocks(); left != "" {
									return errors.New(left)
								}
								return nil
							}); err != nil {
								t.Errorf("byte %d: %v after the stall there is left: %v", n, time.Since(stalled), err)
							}
						}
						o = <-done
						if took := time.Since(began); took > 8*time.Second || !slices.Contains([]int{0, 1, 4}, o.code) {
							t.Errorf("byte %d: exit status %d after %v", n, o.code, took)
						}
						if now := d.state(); now != before && now != after {
							t.Errorf("byte %d: half done:\n%s", n, now)
						}
						d.patch(environ...).expect(t, 0)
						if now := d.state(); now != after {
							t.Errorf("byte %d: a second run leaves\n%s\nwant\n%s", n, now, after)
						}
						d.drop()
					})
				}
				group.Wait()
			})
		}
	}
}

// clone copies a database to which nobody is connected.
func (d *database) clone(t *testing.T) *database {
	t.Helper()
	cloning.Lock() // PostgreSQL refuses to copy a database that is being copied
	defer cloning.Unlock()
	databases.Lock()
	databases.count++
	copied := &database{t: t, server: d.server, name: fmt.Sprintf("evolution_%d", databases.count), schema: d.schema}
	databases.Unlock()
	admin, err := pgx.Connect(context.Background(), d.server.uri("postgres", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	if _, err := admin.Exec(context.Background(), "CREATE DATABASE "+copied.name+" TEMPLATE "+d.name); err != nil {
		t.Error(err)
	}
	return copied
}

var cloning sync.Mutex

func (d *database) drop() {
	_ = d.query("postgres", "DROP DATABASE "+d.name+" WITH (FORCE)")
}

// query runs one query over a connection of its own, and returns its one value as text.
func (d *database) query(name, sql string) string {
	c, err := pgx.Connect(context.Background(), d.server.uri(name, ""))
	if err != nil {
		d.t.Error(err)
		return ""
	}
	defer c.Close(context.Background())
	if name == "postgres" {
		_, err = c.Exec(context.Background(), sql)
		if err != nil {
			d.t.Error(err)
		}
		return ""
	}
	var text string
	if err := c.QueryRow(context.Background(), sql).Scan(&text); err != nil {
		d.t.Errorf("%s: %v", sql, err)
	}
	return text
}

// state is what the program changes: the table's indexes and triggers, its keys, and event triggers.
func (d *database) state() string {
	keys := ""
	if d.query(d.name, `SELECT (to_regclass('evolution_api."OpenaiCreds"') IS NOT NULL)::text`) == "true" {
		keys = d.query(d.name, `SELECT md5(string_agg(id || coalesce("apiKey", ''), '|' ORDER BY id)) FROM evolution_api."OpenaiCreds"`)
	}
	return keys + d.query(d.name, `SELECT concat_ws(E'\n', '', (SELECT string_agg(indexdef, ',' ORDER BY indexdef) FROM pg_indexes WHERE tablename = 'OpenaiCreds'),
		(SELECT string_agg(tgname::text || tgenabled::text, ',') FROM pg_trigger WHERE NOT tgisinternal), (SELECT string_agg(proname::text, ',') FROM pg_proc WHERE proname LIKE 'evolution%'),
		(SELECT string_agg(evtname::text || evtenabled::text, ',') FROM pg_event_trigger))`)
}

// leftLocks tells what a session of the program's holds in the database: a lock on Evolution's table, its own advisory lock,
// or a transaction in which it is idle.
func (d *database) leftLocks() string {
	return d.query(d.name, `SELECT coalesce(string_agg(concat_ws(' ', a.pid, a.state, l.mode, l.relation::regclass, l.locktype), '; '), '')
		FROM pg_stat_activity a LEFT JOIN pg_locks l ON l.pid = a.pid AND (l.locktype = 'advisory' OR l.relation = to_regclass('evolution_api."OpenaiCreds"'))
		WHERE a.datname = current_database() AND a.application_name = 'evolution-openai-patch' AND (l.pid IS NOT NULL OR a.state LIKE 'idle in transaction%')`)
}
