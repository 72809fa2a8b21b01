package test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"evolution-openai-patch/test/pgtest"
)

// An operator has a database, an Evolution and a connection string.
type operator struct {
	*testing.T
	d         *pgtest.Database
	prisma    *pgx.Conn               // Evolution's connection for its migrations
	evolution *pgtest.EvolutionServer // its HTTP
	role      string                  // in the connection string
	database  string                  // in the connection string
	schema    string                  // in the connection string, "" for none

	registered int            // credentials so far
	last       pgtest.Outcome // of the program
	transcript strings.Builder
}

// A step is one line of a journey: what is done, and what must come of it.
type step func(op *operator)

// follow takes the steps one after the other, in a database with nothing in it. The log has the transcript, in one piece.
func follow(t *testing.T, schema string, steps []step) {
	op := &operator{T: t, role: "postgres", schema: schema}
	defer func() { fmt.Fprint(t.Output(), op.transcript.String()) }()
	op.use(pgtest.NewDatabase(t, schema), "")
	for _, step := range steps {
		step(op)
	}
}

// use goes on with a database, and this release of Evolution.
func (op *operator) use(d *pgtest.Database, release string) {
	op.d, op.prisma, op.evolution = d, d.NewConn(), pgtest.NewEvolutionServer(op.T, d, "")
	op.evolution.Version, op.database = release, d.Name
	d.Exec("SET search_path TO " + pgtest.Quote(d.Schema)) // a restored one has none
}

// say adds a line to the transcript.
func (op *operator) say(format string, args ...any) {
	fmt.Fprintf(&op.transcript, format+"\n", args...)
}

// expect adds what a step came to, and fails the test if that is not what it should.
func (op *operator) expect(what, got, want string) {
	op.say("%s → %s", what, got)
	if got != want {
		op.say("WRONG: want %s", want)
		op.Errorf("%s → %s, want %s", what, got, want)
	}
}

// evolution starts a release of Evolution, whose migrations pass.
func evolution(release string) step {
	last := map[string]string{"2.2.3": "20250116001415", "2.3.7": pgtest.Last, "2.4.0-rc2": "20260506184850"}[release]
	return func(op *operator) {
		pgtest.MustMigrate(op.T, op.prisma, last)
		op.evolution.Version = release
		op.say("Evolution %s starts, and prisma migrate deploy passes", release)
	}
}

// What Prisma says of a migration that fails, and at every start after that.
const (
	passes = "passes"
	p3018  = "P3018, a migration failed to apply"
	p3009  = "P3009, there are failed migrations"
)

// future starts a later release than any that is known, which has one more migration.
func future(release, sql, answer string) step {
	return func(op *operator) {
		pgtest.MustMigrate(op.T, op.prisma, "20269999999999")
		file := filepath.Join(op.TempDir(), "20270101000000_"+release+".sql")
		if err := os.WriteFile(file, []byte(sql), 0o600); err != nil {
			op.Fatal(err)
		}
		got := passes
		if pgtest.Text(op.T, op.prisma, `SELECT count(*) FROM "_prisma_migrations" WHERE finished_at IS NULL AND rolled_back_at IS NULL`) != "0" {
			got = p3009
		} else if err := pgtest.RunMigration(op.prisma, file); err != nil {
			got = p3018
		} else {
			op.evolution.Version = release
		}
		op.expect("Evolution "+release+" migrates: "+sql, got, answer)
	}
}

// post registers the key in an instance, which is created for its first credential. Each credential has a name of its own.
func post(instance string, status int) step {
	return func(op *operator) {
		if op.d.Text(`SELECT count(*) FROM "Instance" WHERE name = $1`, instance) == "0" {
			op.request("/instance/create", map[string]string{"instanceName": instance})
		}
		op.registered++
		got, message := op.request("/openai/creds/"+instance, map[string]string{"name": fmt.Sprintf("credential %d", op.registered), "apiKey": pgtest.APIKey})
		op.expect("POST /openai/creds/"+instance+", the shared key", strings.TrimSpace(fmt.Sprint(got, " ", message)), strings.TrimSpace(fmt.Sprint(status, " ", refusals[status])))
	}
}

// refusals are what Evolution says with a status.
var refusals = map[int]string{
	http.StatusBadRequest:          "This API key is already registered. Please use a different API key.",
	http.StatusInternalServerError: "Error creating openai creds",
}

// request posts JSON to Evolution, and returns the status and the message of an error.
func (op *operator) request(path string, body any) (status int, message string) {
	content, _ := json.Marshal(body)
	request, err := http.NewRequest(http.MethodPost, op.evolution.URL+path, strings.NewReader(string(content)))
	if err != nil {
		op.Fatal(err)
	}
	request.Header.Set("apikey", op.evolution.Key)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		op.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct{ Response struct{ Message any } }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		op.Fatal(err)
	}
	if answer.Response.Message != nil {
		message = strings.Trim(fmt.Sprint(answer.Response.Message), "[]")
	}
	return response.StatusCode, message
}

// run runs the program with the connection string and nothing else but what is written before and after its name, such as
// "PATCH_FIXES=apikey-check revert".
func (op *operator) run(command string) pgtest.Outcome {
	environ := append(slices.Clone(pgtest.Patient), "DATABASE_CONNECTION_URI="+pgtest.URI(op.role, op.d.Server.Address(), op.database, op.schema))
	var args []string
	for _, word := range strings.Fields(command) {
		if strings.Contains(word, "=") {
			environ = append(environ, word)
		} else {
			args = append(args, word)
		}
	}
	return pgtest.RunArgs(context.Background(), args, environ)
}

// program runs the program. It ends with this exit status and state, and says these words.
func program(command string, code int, state string, words ...string) step {
	return func(op *operator) {
		op.last = op.run(command)
		environ := options.FindString(command)
		op.say("$ %s", strings.Join(strings.Fields(environ+" evolution-openai-patch "+strings.TrimPrefix(command, environ)), " "))
		for line := range strings.Lines(noise.ReplaceAllString(op.last.Stderr, "") + op.last.Stdout) {
			op.say("  %s", strings.TrimSuffix(line, "\n"))
		}
		op.say("  exit status %d", op.last.Code)
		op.last.Expect(op.T, code, append(words, state+": ")...)
	}
}

var (
	options = regexp.MustCompile(`^(\S+=\S+ ?)*`)                                                      // before the program's name
	noise   = regexp.MustCompile(`(?m)^time=\S+ level=INFO msg=connected .*\n|^time=\S+ | target=\S+`) // in the log
)

// silent is like program, which warns of nothing.
func silent(command string, code int, state string, words ...string) step {
	return func(op *operator) {
		program(command, code, state, words...)(op)
		if strings.Contains(op.last.Stderr, "level=WARN") {
			op.say("WRONG: a warning")
			op.Error("a warning")
		}
	}
}

// revertAfterRemedy is revert while instances share a key: it is refused, its remedy executed, and repeated.
func revertAfterRemedy(words ...string) step {
	return func(op *operator) {
		program("revert", 3, "failed", pgtest.SharedValue)(op)
		sql := remedy(op.T, op.last)
		op.say("psql: %s", sql)
		op.d.Exec(sql)
		program("revert", 0, "unpatched", append(words, "changed=true")...)(op)
	}
}

// psql executes SQL of the operator's.
func psql(sql string) step {
	return func(op *operator) {
		op.say("psql: %s", sql)
		op.d.Exec(sql)
	}
}

// unique compares the names of the unique indexes besides the primary key, "" for none.
func unique(names string) step {
	return func(op *operator) {
		op.expect("unique indexes", op.d.Text(`SELECT coalesce(string_agg(relname, ' ' ORDER BY relname), '') FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
			WHERE indrelid = '"OpenaiCreds"'::regclass AND indisunique AND NOT indisprimary`), names)
	}
}

// padded compares how many keys are stored with a space at the end.
func padded(n int) step {
	return func(op *operator) {
		op.expect("keys stored with a space", op.d.Text(`SELECT count(*) FROM "OpenaiCreds" WHERE "apiKey" LIKE '% '`), fmt.Sprint(n))
	}
}

// restored goes on where a dump of the database was restored.
func restored(op *operator) {
	op.say("pg_dump, and psql into another database")
	_ = op.prisma.Close(context.Background())
	op.use(op.d.RestoreElsewhere(op.T), op.evolution.Version)
}

// noGuard runs the program until nothing is left of a guard. What one leaves behind goes with a later run that finds no other
// transaction.
func noGuard(command string) step {
	return func(op *operator) {
		op.d.Server.OpenDatabase(op.T, op.database, "").ExpectNoGuardAfter(func() { op.run(command).ExpectCode(op.T, 0) })
		op.say("nothing is left of a guard")
	}
}

// asksFor goes on with a connection string that has another schema, or none.
func asksFor(schema string) step {
	return func(op *operator) {
		op.schema = schema
		op.say("the connection string ends in ?schema=%s", schema)
	}
}

// asksForDatabase goes on with a connection string that has another database, in which there is nothing.
func asksForDatabase(op *operator) {
	op.database = pgtest.NewDatabase(op.T, "public").Name
	op.say("the connection string has another database")
}

// owned goes on with a role that owns the database and is no superuser, for Evolution as for the program.
func owned(op *operator) {
	op.role = op.d.Name + "_owner"
	op.d.Exec(fmt.Sprintf(`CREATE ROLE %s LOGIN PASSWORD '%s'; ALTER DATABASE %s OWNER TO %[1]s; ALTER SCHEMA %[4]s OWNER TO %[1]s`, op.role, pgtest.Password, op.d.Name, op.d.Schema))
	op.prisma = pgtest.Connect(op.T, pgtest.URI(op.role, op.d.Server.Address(), op.d.Name, ""))
	pgtest.Exec(op.T, op.prisma, "SET search_path TO "+op.d.Schema)
	op.say("the role is no superuser, and owns the database")
}
