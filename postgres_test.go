package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"evolution-openai-patch/patch"
)

// What must never be printed: no test may use another password or key.
const (
	password = "Sup3r.s3cret&*("
	apiKey   = keyPrefix + "ThisKeyIsNobodysBusiness0123"

	keyPrefix       = "sk-proj-"  // every key's, also of those that the stand-in for Evolution makes up
	examplePassword = "change-me" // in compose.example.yml and deploy/
)

// shared is the server that most tests use, each with a database of its own.
var shared *server

// printed collects everything that the program printed in any test.
var printed struct {
	sync.Mutex
	bytes.Buffer
}

// atEnd is run after the last test.
var atEnd []func()

func TestMain(m *testing.M) {
	runtime.LockOSThread() // the server dies with the thread that started it
	os.Exit(func() int {
		for _, v := range os.Environ() {
			if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "PG") && name != "PG_BINDIR" {
				_ = os.Unsetenv(name)
			}
		}
		dir, err := os.MkdirTemp("", "eop")
		if err != nil {
			log.Print(err)
			return 1
		}
		defer os.RemoveAll(dir)
		if shared, err = startServer(dir); err != nil {
			log.Print(err)
			return 1
		}
		defer shared.stop()
		code := m.Run()
		for _, f := range atEnd {
			f()
		}
		for _, secret := range []string{password, url.QueryEscape(password), keyPrefix, examplePassword} {
			if strings.Contains(printed.String(), secret) {
				log.Printf("FAIL: the program printed a secret in one of the tests: %s", around(printed.String(), secret))
				code = 1
			}
		}
		return code
	}())
}

func around(text, word string) string {
	i := strings.Index(text, word)
	return text[max(0, i-300):min(len(text), i+len(word)+300)]
}

// server is a PostgreSQL of the tests' own.
type server struct {
	dir  string // holds data, the socket and the log
	port string
	cmd  *exec.Cmd
}

// bindir finds the server's programs: PG_BINDIR, or the newest of Debian's.
func bindir() (string, error) {
	if dir := os.Getenv("PG_BINDIR"); dir != "" {
		return dir, nil
	}
	if dir := newest(); dir != "" {
		return dir, nil
	}
	return "", errors.New("no PostgreSQL server found: apt-get install postgresql, or set PG_BINDIR")
}

// newest is the newest of Debian's server programs, "" if there are none.
func newest() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		return ""
	}
	slices.SortFunc(found, func(a, b string) int {
		major := func(s string) int { n, _ := strconv.Atoi(strings.Split(s, "/")[4]); return n }
		return major(a) - major(b)
	})
	return filepath.Dir(found[len(found)-1])
}

// pgProgram is a command of PostgreSQL's, run by an ordinary user if the tests run as root, which the server refuses.
// What does not come with the server that is tested is taken from Debian.
func pgProgram(name string, args ...string) (*exec.Cmd, error) {
	dir, err := bindir()
	if err != nil {
		return nil, err
	}
	if !exists(filepath.Join(dir, name)) {
		dir = newest()
	}
	cmd := exec.Command(filepath.Join(dir, name), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT, Credential: ordinaryUser()}
	cmd.Env = append(os.Environ(), "PGPASSWORD="+password, "LC_ALL=C", "LD_LIBRARY_PATH="+filepath.Join(dir, "../lib"))
	return cmd, nil
}

func ordinaryUser() *syscall.Credential {
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, _ = user.Lookup("nobody")
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// own gives a folder to the user that the server runs as.
func own(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if c := ordinaryUser(); c != nil {
		return os.Chown(dir, int(c.Uid), int(c.Gid))
	}
	return nil
}

func startServer(dir string, settings ...string) (*server, error) {
	s := &server{dir: dir, port: freePort()}
	if err := own(dir); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "pw"), []byte(password), 0o644); err != nil {
		return nil, err
	}
	cmd, err := pgProgram("initdb", "-D", s.data(), "-U", "postgres", "-A", "scram-sha-256", "--pwfile", filepath.Join(dir, "pw"), "-E", "UTF8", "--locale", "C", "-N")
	if err != nil {
		return nil, err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	hba := filepath.Join(s.data(), "pg_hba.conf")
	if err := os.WriteFile(hba, []byte("local all all scram-sha-256\nhost all all all scram-sha-256\nhost replication all all scram-sha-256\n"), 0o644); err != nil {
		return nil, err
	}
	return s, s.start(settings...)
}

func (s *server) data() string { return filepath.Join(s.dir, "data") }

// start starts the postmaster and returns when it lets somebody in.
func (s *server) start(settings ...string) error {
	if err := s.launch(settings...); err != nil {
		return err
	}
	return until(30*time.Second, func() error {
		c, err := pgconn.Connect(context.Background(), s.uri("postgres", ""))
		if err != nil {
			return err
		}
		return c.Close(context.Background())
	})
}

func (s *server) launch(settings ...string) error {
	args := []string{"-D", s.data(), "-p", s.port, "-k", s.dir, "-c", "listen_addresses=localhost", "-c", "fsync=off", "-c", "max_connections=200"}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	cmd, err := pgProgram("postgres", args...)
	if err != nil {
		return err
	}
	logFile, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	cmd.Stdout, cmd.Stderr = logFile, logFile
	s.cmd = cmd
	return cmd.Start()
}

// stop ends the server with everything that is connected.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGQUIT)
	_ = s.cmd.Wait()
}

// interrupt ends the server in good order.
func (s *server) interrupt() {
	_ = s.cmd.Process.Signal(syscall.SIGINT)
	_ = s.cmd.Wait()
}

// uri is a connection string as Evolution has it; schema "" leaves it out.
func (s *server) uri(database, schema string) string {
	return uriFor("postgres", net.JoinHostPort("localhost", s.port), database, schema)
}

func uriFor(user, hostPort, database, schema string) string {
	query := "?sslmode=disable"
	if schema != "" {
		query += "&schema=" + url.QueryEscape(schema)
	}
	return "postgresql://" + user + ":" + url.QueryEscape(password) + "@" + hostPort + "/" + database + query
}

func freePort() string {
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// until polls a condition that another process brings about.
func until(limit time.Duration, condition func() error) error {
	for deadline := time.Now().Add(limit); ; {
		err := condition()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		<-time.After(10 * time.Millisecond)
	}
}

// database is a database of one test's own.
type database struct {
	t      *testing.T
	server *server
	name   string
	schema string
	conn   *pgx.Conn
}

var databases struct {
	sync.Mutex
	count int
}

// newDatabase makes an empty database; it stays until the server ends, and its name stands in a failing test's log.
func newDatabase(t *testing.T, schema string) *database {
	return shared.newDatabase(t, schema)
}

func (s *server) newDatabase(t *testing.T, schema string) *database {
	t.Helper()
	databases.Lock()
	databases.count++
	name := fmt.Sprintf("evolution_%d", databases.count)
	databases.Unlock()
	admin := s.connect(t, "postgres")
	mustExec(t, admin, "CREATE DATABASE "+name)
	d := &database{t: t, server: s, name: name, schema: schema, conn: s.connect(t, name)}
	if schema != "public" {
		d.exec("CREATE SCHEMA " + pgx.Identifier{schema}.Sanitize())
	}
	d.exec("SET search_path TO " + pgx.Identifier{schema}.Sanitize())
	t.Logf("database %s on port %s", name, s.port)
	return d
}

// evolution is a database as Evolution 2.3.7 leaves it, in the schema given.
func evolution(t *testing.T, schema string) *database {
	t.Helper()
	d := newDatabase(t, schema)
	d.migrate("20251122003044")
	d.exec(`INSERT INTO "Instance"(id, name) VALUES ('i1', 'one'), ('i2', 'two'), ('i3', 'three')`)
	return d
}

func (s *server) connect(t *testing.T, name string) *pgx.Conn {
	t.Helper()
	return connectTo(t, s.uri(name, ""))
}

func connectTo(t *testing.T, uri string) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(uri)
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec // no cached plans, which a migration would spoil
	c, err := pgx.ConnectConfig(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// another is a further connection to the database, with the schema on its search_path.
func (d *database) another() *pgx.Conn {
	d.t.Helper()
	c := d.server.connect(d.t, d.name)
	mustExec(d.t, c, "SET search_path TO "+pgx.Identifier{d.schema}.Sanitize())
	return c
}

func mustExec(t *testing.T, c *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := c.Exec(context.Background(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func (d *database) exec(sql string, args ...any) { d.t.Helper(); mustExec(d.t, d.conn, sql, args...) }

func (d *database) uri() string { return d.server.uri(d.name, d.schema) }

// uriAs is the connection string of another role.
func (d *database) uriAs(user string) string {
	return uriFor(user, "localhost:"+d.server.port, d.name, d.schema)
}

// migrate does what `prisma migrate deploy` does, up to the migration that begins with last.
func (d *database) migrate(last string) {
	d.t.Helper()
	if err := deploy(d.conn, last); err != nil {
		d.t.Fatal(err)
	}
}

// deploy runs the missing migrations, a transaction each, under Prisma's advisory lock, and records them.
func deploy(c *pgx.Conn, last string) error {
	ctx := context.Background()
	if _, err := c.Exec(ctx, "SELECT pg_advisory_lock(72707369)"); err != nil {
		return err
	}
	defer func() { _, _ = c.Exec(ctx, "SELECT pg_advisory_unlock(72707369)") }()
	if _, err := c.Exec(ctx, `CREATE TABLE IF NOT EXISTS "_prisma_migrations" (id VARCHAR(36) PRIMARY KEY NOT NULL, checksum VARCHAR(64) NOT NULL,
		finished_at TIMESTAMPTZ, migration_name VARCHAR(255) NOT NULL, logs TEXT, rolled_back_at TIMESTAMPTZ,
		started_at TIMESTAMPTZ NOT NULL DEFAULT now(), applied_steps_count INTEGER NOT NULL DEFAULT 0)`); err != nil {
		return err
	}
	files, err := filepath.Glob("testdata/migrations/*.sql")
	if err != nil {
		return err
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".sql")
		var done bool
		if err := c.QueryRow(ctx, `SELECT count(*) > 0 FROM "_prisma_migrations" WHERE migration_name = $1`, name).Scan(&done); err != nil {
			return err
		}
		if done || name[:14] > last {
			continue
		}
		if err := runMigration(c, name, file); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func runMigration(c *pgx.Conn, name, file string) error {
	ctx := context.Background()
	sql, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if _, err := c.Exec(ctx, `INSERT INTO "_prisma_migrations"(id, checksum, migration_name) VALUES (left(md5($1), 36), '', $1)`, name); err != nil {
		return err
	}
	if _, err := c.Exec(ctx, "BEGIN;"+string(sql)+";COMMIT"); err != nil {
		_, _ = c.Exec(ctx, "ROLLBACK")
		return err
	}
	_, err = c.Exec(ctx, `UPDATE "_prisma_migrations" SET finished_at = now(), applied_steps_count = 1 WHERE migration_name = $1`, name)
	return err
}

// text is the one value that a query returns, as text.
func (d *database) text(sql string, args ...any) string {
	d.t.Helper()
	var s *string
	if err := d.conn.QueryRow(context.Background(), "SELECT ("+sql+")::text", args...).Scan(&s); err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
	if s == nil {
		return ""
	}
	return *s
}

// indexes names the indexes of the credentials' table.
func (d *database) indexes() string {
	d.t.Helper()
	return d.text(`SELECT string_agg(indexname, ' ' ORDER BY indexname) FROM pg_indexes WHERE schemaname = $1 AND tablename = 'OpenaiCreds'`, d.schema)
}

// restricted is what newer pg_dumps write to keep psql's meta-commands out: a token that differs each time.
var restricted = regexp.MustCompile(`(?m)^\\(un)?restrict .*\n`)

// dump is the whole database: as pg_dump writes it, or as the catalog tells it where there is no pg_dump of the server's
// version.
func (d *database) dump() string {
	d.t.Helper()
	dir, err := bindir()
	if err != nil {
		d.t.Fatal(err)
	}
	if !exists(filepath.Join(dir, "pg_dump")) {
		return d.catalog()
	}
	cmd, err := pgProgram("pg_dump", "-h", "localhost", "-p", d.server.port, "-U", "postgres", d.name)
	if err != nil {
		d.t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		d.t.Fatalf("pg_dump: %v %s", err, stderr.String())
	}
	return restricted.ReplaceAllString(string(out), "")
}

// catalog tells every definition in the database that is not PostgreSQL's own, and every row, a line each.
func (d *database) catalog() string {
	d.t.Helper()
	c := d.server.connect(d.t, d.name) // with no search_path, so that all names are qualified
	defer c.Close(context.Background())
	mustExec(d.t, c, "SET search_path TO pg_catalog")
	lines := func(sql string) (found []string) {
		rows, err := c.Query(context.Background(), sql)
		if err != nil {
			d.t.Fatalf("%s: %v", sql, err)
		}
		if found, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			d.t.Fatalf("%s: %v", sql, err)
		}
		return found
	}
	const mine = "NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"
	all := lines(`SELECT * FROM (
		SELECT format('%s %I.%I owner %s acl %s', c.relkind, n.nspname, c.relname, c.relowner::regrole, c.relacl) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname ` + mine + `
		UNION ALL SELECT format('column %I.%I %s %I %s null %s default %s', nspname, relname, attnum, attname, format_type(atttypid, atttypmod), NOT attnotnull, pg_get_expr(adbin, adrelid))
			FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE nspname ` + mine + ` AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
		UNION ALL SELECT format('%s valid %s', pg_get_indexdef(indexrelid), indisvalid) FROM pg_index i JOIN pg_class c ON c.oid = indexrelid JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname ` + mine + `
		UNION ALL SELECT format('constraint %I on %s %s', conname, conrelid::regclass, pg_get_constraintdef(k.oid)) FROM pg_constraint k JOIN pg_namespace n ON n.oid = connamespace WHERE nspname ` + mine + `
		UNION ALL SELECT pg_get_triggerdef(oid) || ' ' || tgenabled::text FROM pg_trigger WHERE NOT tgisinternal
		UNION ALL SELECT pg_get_functiondef(p.oid) FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace WHERE nspname ` + mine + `
		UNION ALL SELECT format('schema %I owner %s', nspname, nspowner::regrole) FROM pg_namespace WHERE nspname ` + mine + ` AND nspname NOT LIKE 'pg_t%'
		UNION ALL SELECT format('event trigger %I %s', evtname, evtenabled) FROM pg_event_trigger
	) AS everything(line) ORDER BY line`)
	for _, table := range lines(`SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind = 'r' AND nspname ` + mine + ` ORDER BY 1`) {
		var rows bytes.Buffer
		if _, err := c.PgConn().CopyTo(context.Background(), &rows, "COPY "+table+" TO STDOUT"); err != nil {
			d.t.Fatal(err)
		}
		all = append(all, "COPY "+table+" FROM stdin;\n"+rows.String()+"\\.\n")
	}
	return strings.Join(all, "\n")
}

// without is the dump of a database from which one index is gone.
func without(dump, index string) string {
	if at := strings.Index(dump, "\n--\n-- Name: "+index+";"); at >= 0 {
		end := at + strings.Index(dump[at:], ";\n\n") + 3
		return dump[:at] + dump[end:]
	}
	var kept []string
	for line := range strings.Lines(dump) {
		if !strings.Contains(line, index) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// outcome is what a run of the program left behind.
type outcome struct {
	code           int
	stdout, stderr string
}

// execute runs the program as a function.
func execute(t *testing.T, ctx context.Context, environ ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := patch.Main(ctx, nil, append([]string{"PATCH_LOG_LEVEL=debug"}, environ...), &stdout, &stderr)
	o := outcome{code, stdout.String(), stderr.String()}
	keep(t, o, environ)
	return o
}

// note adds to what is searched for secrets.
func note(o outcome) {
	printed.Lock()
	defer printed.Unlock()
	fmt.Fprint(&printed.Buffer, o.stdout, o.stderr)
}

func keep(t *testing.T, o outcome, environ []string) {
	t.Helper()
	note(o)
	shown := slices.DeleteFunc(slices.Clone(environ), func(v string) bool { return !strings.HasPrefix(v, "PATCH_") })
	t.Logf("%s → exit %d\n%s%s", strings.Join(shown, " "), o.code, o.stderr, o.stdout)
}

// patch runs the program against the database.
func (d *database) patch(environ ...string) outcome {
	d.t.Helper()
	return execute(d.t, context.Background(), append([]string{"DATABASE_CONNECTION_URI=" + d.uri()}, environ...)...)
}

// fiftyAtOnce runs the program fifty times at the same time: all must end well, and one of them must have done the work.
func (d *database) fiftyAtOnce(says string, environ ...string) {
	d.t.Helper()
	outcomes := make(chan outcome)
	for range 50 {
		go func() { outcomes <- d.patch(environ...) }()
	}
	changed := 0
	for range 50 {
		o := <-outcomes
		o.expect(d.t, 0, says)
		changed += strings.Count(o.stdout, "changed=true")
	}
	if changed != 1 {
		d.t.Errorf("%d of 50 say that they changed something", changed)
	}
}

// expect checks the exit status and what must be found in the output. A state such as "patched: " must begin a line of
// standard output, and "changed=true" must be a word of such a line; anything else may stand anywhere.
func (o outcome) expect(t *testing.T, code int, words ...string) {
	t.Helper()
	if o.code != code {
		t.Errorf("exit status %d, want %d\n%s%s", o.code, code, o.stderr, o.stdout)
	}
	for _, w := range words {
		if !o.says(w) {
			t.Errorf("%q is not in the output:\n%s%s", w, o.stderr, o.stdout)
		}
	}
}

// reportLine is a line of the report as text, with its state.
var reportLine = regexp.MustCompile(`(?m)^(patched|pending|guarded|unpatched|failed): .*$`)

// says looks for one of expect's words.
func (o outcome) says(word string) bool {
	isState := reportLine.FindString(word) == word && strings.HasSuffix(word, ": ")
	isChanged := strings.HasPrefix(word, "changed=")
	if !isState && !isChanged {
		return strings.Contains(o.stdout+o.stderr, word)
	}
	return slices.ContainsFunc(reportLine.FindAllString(o.stdout, -1), func(line string) bool {
		return isState && strings.HasPrefix(line, word) || isChanged && slices.Contains(strings.Fields(line), word)
	})
}

// What expect looks for is not found in the middle of another word, nor in the log.
func TestExpect(t *testing.T) {
	const report = "unpatched: h:1/d schema=s changed=false apikey-index=unpatched error=\"was changed=unknown\"\n"
	for word, want := range map[string]bool{
		"unpatched: ": true, "patched: ": false, "failed: ": false, "changed=false": true, "changed=true": false, "changed=fal": false,
		"changed=null": false, "apikey-index": true, "waiting": true, "": true,
	} {
		if got := (outcome{0, report, "level=WARN msg=\"failed: waiting\" changed=true\nfailed: changed=null\n"}).says(word); got != want {
			t.Errorf("%q is found: %t", word, got)
		}
	}
	if (outcome{0, "", report}).says("unpatched: ") {
		t.Error("a state in the log is taken for the report's")
	}
}

// program builds the binary as the image does, once.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(shared.dir, "evolution-openai-patch")
	out, err := exec.Command("scripts/build.sh", path, "test").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, out)
	}
	return path, err
})

// start runs the binary. What it logs can be watched while it runs.
func start(t *testing.T, environ ...string) *process {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, environ: environ, cmd: exec.Command(path), ended: make(chan struct{})}
	p.cmd.Env = environ
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.ended) }()
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); <-p.ended })
	return p
}

type process struct {
	t              *testing.T
	environ        []string
	cmd            *exec.Cmd
	stdout, stderr lockedBuffer
	ended          chan struct{}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// says waits until the program has logged something.
func (p *process) says(words string) {
	p.t.Helper()
	err := until(20*time.Second, func() error {
		if strings.Contains(p.stderr.String(), words) {
			return nil
		}
		return fmt.Errorf("it never said %q:\n%s", words, p.stderr.String())
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// stop sends a signal and waits for the program to end.
func (p *process) stop(signal syscall.Signal) outcome {
	p.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
	return p.end()
}

// end waits for the program to end.
func (p *process) end() outcome {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(60 * time.Second):
		p.t.Fatalf("it does not end:\n%s", p.stderr.String())
	}
	code := p.cmd.ProcessState.ExitCode()
	o := outcome{code, p.stdout.String(), p.stderr.String()}
	keep(p.t, o, p.environ)
	return o
}
