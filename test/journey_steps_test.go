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

// A traveller is who goes on a journey: an operator with a database, an Evolution and a connection string.
type traveller struct {
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
type step func(j *traveller)

// travel takes the steps one after the other, in a database with nothing in it. The log has the transcript, in one piece.
func travel(t *testing.T, schema string, steps []step) {
	j := &traveller{T: t, role: "postgres", schema: schema}
	defer func() { fmt.Fprint(t.Output(), j.transcript.String()) }()
	j.use(pgtest.NewDatabase(t, schema), "")
	for _, step := range steps {
		step(j)
	}
}

// use goes on with a database, and this release of Evolution.
func (j *traveller) use(d *pgtest.Database, release string) {
	j.d, j.prisma, j.evolution = d, d.NewConn(), pgtest.NewEvolutionServer(j.T, d, "")
	j.evolution.Version, j.database = release, d.Name
	d.Exec("SET search_path TO " + pgtest.Quote(d.Schema)) // a restored one has none
}

// say adds a line to the transcript.
func (j *traveller) say(format string, args ...any) { fmt.Fprintf(&j.transcript, format+"\n", args...) }

// expect adds what a step came to, and fails the test if that is not what it should.
func (j *traveller) expect(what, got, want string) {
	j.say("%s → %s", what, got)
	if got != want {
		j.say("WRONG: want %s", want)
		j.Errorf("%s → %s, want %s", what, got, want)
	}
}

// evolution starts a release of Evolution, whose migrations pass.
func evolution(release string) step {
	last := map[string]string{"2.2.3": "20250116001415", "2.3.7": pgtest.Last, "2.4.0-rc2": "20260506184850"}[release]
	return func(j *traveller) {
		pgtest.MustMigrate(j.T, j.prisma, last)
		j.evolution.Version = release
		j.say("Evolution %s starts, and prisma migrate deploy passes", release)
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
	return func(j *traveller) {
		pgtest.MustMigrate(j.T, j.prisma, "20269999999999")
		file := filepath.Join(j.TempDir(), "20270101000000_"+release+".sql")
		if err := os.WriteFile(file, []byte(sql), 0o600); err != nil {
			j.Fatal(err)
		}
		got := passes
		if pgtest.Text(j.T, j.prisma, `SELECT count(*) FROM "_prisma_migrations" WHERE finished_at IS NULL AND rolled_back_at IS NULL`) != "0" {
			got = p3009
		} else if err := pgtest.RunMigration(j.prisma, file); err != nil {
			got = p3018
		} else {
			j.evolution.Version = release
		}
		j.expect("Evolution "+release+" migrates: "+sql, got, answer)
	}
}

// post registers the key in an instance, which is created for its first credential. Each credential has a name of its own.
func post(instance string, status int) step {
	return func(j *traveller) {
		if j.d.Text(`SELECT count(*) FROM "Instance" WHERE name = $1`, instance) == "0" {
			j.request("/instance/create", map[string]string{"instanceName": instance})
		}
		j.registered++
		got, message := j.request("/openai/creds/"+instance, map[string]string{"name": fmt.Sprintf("credential %d", j.registered), "apiKey": pgtest.APIKey})
		j.expect("POST /openai/creds/"+instance+", the shared key", strings.TrimSpace(fmt.Sprint(got, " ", message)), strings.TrimSpace(fmt.Sprint(status, " ", refusals[status])))
	}
}

// refusals are what Evolution says with a status.
var refusals = map[int]string{
	http.StatusBadRequest:          "This API key is already registered. Please use a different API key.",
	http.StatusInternalServerError: "Error creating openai creds",
}

// request posts JSON to Evolution, and returns the status and the message of an error.
func (j *traveller) request(path string, body any) (status int, message string) {
	content, _ := json.Marshal(body)
	request, err := http.NewRequest(http.MethodPost, j.evolution.URL+path, strings.NewReader(string(content)))
	if err != nil {
		j.Fatal(err)
	}
	request.Header.Set("apikey", j.evolution.Key)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		j.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct{ Response struct{ Message any } }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		j.Fatal(err)
	}
	if answer.Response.Message != nil {
		message = strings.Trim(fmt.Sprint(answer.Response.Message), "[]")
	}
	return response.StatusCode, message
}

// run runs the program with the connection string and nothing else but what is written before and after its name, such as
// "PATCH_FIXES=apikey-check revert".
func (j *traveller) run(command string) pgtest.Outcome {
	environ := append(slices.Clone(pgtest.Patient), "DATABASE_CONNECTION_URI="+pgtest.URI(j.role, j.d.Server.Address(), j.database, j.schema))
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
	return func(j *traveller) {
		j.last = j.run(command)
		environ := options.FindString(command)
		j.say("$ %s", strings.Join(strings.Fields(environ+" evolution-openai-patch "+strings.TrimPrefix(command, environ)), " "))
		for line := range strings.Lines(noise.ReplaceAllString(j.last.Stderr, "") + j.last.Stdout) {
			j.say("  %s", strings.TrimSuffix(line, "\n"))
		}
		j.say("  exit status %d", j.last.Code)
		j.last.Expect(j.T, code, append(words, state+": ")...)
	}
}

var (
	options = regexp.MustCompile(`^(\S+=\S+ ?)*`)                                                      // before the program's name
	noise   = regexp.MustCompile(`(?m)^time=\S+ level=INFO msg=connected .*\n|^time=\S+ | target=\S+`) // in the log
)

// silent is like program, which warns of nothing.
func silent(command string, code int, state string, words ...string) step {
	return func(j *traveller) {
		program(command, code, state, words...)(j)
		if strings.Contains(j.last.Stderr, "level=WARN") {
			j.say("WRONG: a warning")
			j.Error("a warning")
		}
	}
}

// revertAfterRemedy is revert while instances share a key: it is refused, its remedy executed, and repeated.
func revertAfterRemedy(words ...string) step {
	return func(j *traveller) {
		program("revert", 3, "failed", pgtest.SharedValue)(j)
		sql := remedy(j.T, j.last)
		j.say("psql: %s", sql)
		j.d.Exec(sql)
		program("revert", 0, "unpatched", append(words, "changed=true")...)(j)
	}
}

// psql executes SQL of the operator's.
func psql(sql string) step {
	return func(j *traveller) {
		j.say("psql: %s", sql)
		j.d.Exec(sql)
	}
}

// unique compares the names of the unique indexes besides the primary key, "" for none.
func unique(names string) step {
	return func(j *traveller) {
		j.expect("unique indexes", j.d.Text(`SELECT coalesce(string_agg(relname, ' ' ORDER BY relname), '') FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
			WHERE indrelid = '"OpenaiCreds"'::regclass AND indisunique AND NOT indisprimary`), names)
	}
}

// padded compares how many keys are stored with a space at the end.
func padded(n int) step {
	return func(j *traveller) {
		j.expect("keys that end in a space", j.d.Text(`SELECT count(*) FROM "OpenaiCreds" WHERE "apiKey" LIKE '% '`), fmt.Sprint(n))
	}
}

// restored goes on where a dump of the database was restored.
func restored(j *traveller) {
	j.say("pg_dump, and psql into another database")
	_ = j.prisma.Close(context.Background())
	j.use(j.d.RestoreElsewhere(j.T), j.evolution.Version)
}

// noGuard runs the program until nothing is left of a guard. What one leaves behind goes with a later run that finds no other
// transaction.
func noGuard(command string) step {
	return func(j *traveller) {
		j.d.Server.OpenDatabase(j.T, j.database, "").ExpectNoGuardAfter(func() { j.run(command).ExpectCode(j.T, 0) })
		j.say("nothing is left of a guard")
	}
}

// asksFor goes on with a connection string that has another schema, or none.
func asksFor(schema string) step {
	return func(j *traveller) {
		j.schema = schema
		j.say("the connection string ends in ?schema=%s", schema)
	}
}

// asksForDatabase goes on with a connection string that has another database, in which there is nothing.
func asksForDatabase(j *traveller) {
	j.database = pgtest.NewDatabase(j.T, "public").Name
	j.say("the connection string has another database")
}

// owned goes on with a role that owns the database and is no superuser, for Evolution as for the program.
func owned(j *traveller) {
	j.role = j.d.Name + "_owner"
	j.d.Exec(fmt.Sprintf(`CREATE ROLE %s LOGIN PASSWORD '%s'; ALTER DATABASE %s OWNER TO %[1]s; ALTER SCHEMA %[4]s OWNER TO %[1]s`, j.role, pgtest.Password, j.d.Name, j.d.Schema))
	j.prisma = pgtest.Connect(j.T, pgtest.URI(j.role, j.d.Server.Address(), j.d.Name, ""))
	pgtest.Exec(j.T, j.prisma, "SET search_path TO "+j.d.Schema)
	j.say("the role is no superuser, and owns the database")
}
