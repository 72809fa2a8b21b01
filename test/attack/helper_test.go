package attack

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"evolution-openai-patch/test/pgtest"
)

// attack is a database with two hostile roles. Role evo owns Evolution's schema and tables; role mallory may create
// objects in the same schema and has no other rights. One of them is the attacker. It owns schema evil, and sets traps
// that call evil.strike(). When another role calls that function, it makes the attacker a superuser if it can, and leaves
// two traces that survive a rollback: a line in the server's log, also in a read-only transaction, and an advance of
// sequence evil.evil_ran.
type attack struct {
	*pgtest.Database
	t                *testing.T
	evo, mallory     string // the names of the roles
	asEvo, asMallory *pgx.Conn
	attacker         string // one of the two names
	asAttacker       *pgx.Conn
	logRead          int64 // bytes of the server's log that were searched for strikes
}

// attackerObjects are the attacker's tools: evil.strike, a trigger function and a function that PostgreSQL takes for
// immutable.
const attackerObjects = `
	CREATE SEQUENCE evil.evil_ran;
	GRANT USAGE ON SEQUENCE evil.evil_ran TO PUBLIC;
	CREATE FUNCTION evil.strike() RETURNS void LANGUAGE plpgsql AS $strike$
	BEGIN
		IF current_user <> '%[1]s' THEN
			RAISE LOG 'struck in %%: as %%', current_database(), current_user;
			PERFORM nextval('evil.evil_ran');
			EXECUTE 'ALTER ROLE %[1]s SUPERUSER';
		END IF;
	EXCEPTION WHEN OTHERS THEN NULL;
	END $strike$;
	CREATE FUNCTION evil.spring() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN NEW; END';
	CREATE FUNCTION evil.bait(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM evil.strike(); RETURN $1; END';`

// newAttack creates a database with an attacker, "evo" or "mallory", and an empty schema.
func newAttack(t *testing.T, attacker string) *attack {
	t.Helper()
	d := pgtest.NewDatabase(t, "evolution_api")
	a := &attack{Database: d, t: t, evo: d.Name + "_evo", mallory: d.Name + "_mallory", attacker: d.Name + "_" + attacker}
	a.createRole(a.evo, "")
	a.createRole(a.mallory, "")
	d.Exec(fmt.Sprintf(`ALTER SCHEMA evolution_api OWNER TO %s; GRANT USAGE, CREATE ON SCHEMA evolution_api TO %s;
		CREATE SCHEMA evil AUTHORIZATION %s; GRANT USAGE ON SCHEMA evil TO PUBLIC`, a.evo, a.mallory, a.attacker))
	a.asEvo, a.asMallory = a.login(a.evo), a.login(a.mallory)
	a.asAttacker = a.asEvo
	if a.attacker == a.mallory {
		a.asAttacker = a.asMallory
	}
	pgtest.Exec(t, a.asAttacker, fmt.Sprintf(attackerObjects, a.attacker))
	return a
}

// newAttackOnEvolution creates evo's database after Evolution's first start, with evo as the attacker.
func newAttackOnEvolution(t *testing.T) *attack {
	t.Helper()
	a := newAttack(t, "evo")
	a.startEvolution(a.asEvo)
	return a
}

// createRole creates a role. It is dropped with all that it owns after a test that passes; the database of a test that
// fails is kept as it is.
func (a *attack) createRole(name, options string) {
	a.t.Helper()
	name = pgtest.Quote(name)
	a.Exec(fmt.Sprintf(`CREATE ROLE %s LOGIN PASSWORD '%s' %s`, name, pgtest.Password, options))
	a.t.Cleanup(func() {
		if !a.t.Failed() {
			a.Exec(fmt.Sprintf(`REASSIGN OWNED BY %[1]s TO postgres; DROP OWNED BY %[1]s; DROP ROLE %[1]s`, name))
		}
	})
}

// login connects as a role, with Evolution's schema as its search_path.
func (a *attack) login(role string) *pgx.Conn {
	a.t.Helper()
	c := pgtest.Connect(a.t, pgtest.URI(role, a.Server.Address(), a.Name, ""))
	pgtest.Exec(a.t, c, "SET search_path TO evolution_api")
	pgtest.Exec(a.t, c, "SET lock_timeout TO '1min'") // ends a test that waits for itself
	return c
}

// startEvolution does what Evolution's first start does, over a connection, and inserts two keys.
func (a *attack) startEvolution(c *pgx.Conn) {
	a.t.Helper()
	pgtest.MustMigrate(a.t, c, pgtest.Last)
	pgtest.Exec(a.t, c, `INSERT INTO "Instance"(id, name) VALUES ('i1', 'one'), ('i2', 'two')`)
	pgtest.Exec(a.t, c, `INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId") VALUES ('c1', 'n1', 'sk-one', now(), 'i1'), ('c2', 'n2', 'sk-two', now(), 'i2')`)
}

// patchAs runs the program as a role and requires that the attacker's code does not run.
func (a *attack) patchAs(role string, environ ...string) pgtest.Outcome {
	a.t.Helper()
	o := a.runAs(context.Background(), role, environ...)
	a.requireNoStrike(strings.Join(environ, " ") + " as " + role)
	return o
}

// runAs runs the program as a role.
func (a *attack) runAs(ctx context.Context, role string, environ ...string) pgtest.Outcome {
	a.t.Helper()
	return pgtest.RunContext(ctx, a.t, append([]string{"DATABASE_CONNECTION_URI=" + a.URIAs(role)}, environ...)...)
}

// requireNoStrike fails the test if the attacker's code has run as another role since the last call.
func (a *attack) requireNoStrike(when string) {
	a.t.Helper()
	log := a.newLog()
	if a.Text(`SELECT is_called FROM evil.evil_ran`) == "true" {
		a.t.Errorf("%s: the attacker's function advanced its sequence as another role", when)
		a.Exec(`ALTER SEQUENCE evil.evil_ran RESTART`)
	}
	if _, strike, found := strings.Cut(log, "struck in "+a.Name+": as "); found {
		role, _, _ := strings.Cut(strike, "\n")
		a.t.Errorf("%s: the attacker's code ran as %s", when, role)
	}
	for _, role := range []string{a.evo, a.mallory} {
		if a.Text(`SELECT rolsuper FROM pg_roles WHERE rolname = $1`, role) == "true" {
			a.t.Errorf("%s: %s is a superuser", when, role)
			a.Exec("ALTER ROLE " + role + " NOSUPERUSER") // so that the next attack is noticed
		}
	}
}

// newLog returns the lines of the server's log since the last call.
func (a *attack) newLog() string {
	a.t.Helper()
	file, err := os.Open(filepath.Join(a.Server.Dir, "log"))
	if err != nil {
		a.t.Fatal(err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.NewSectionReader(file, a.logRead, math.MaxInt64-a.logRead))
	if err != nil {
		a.t.Fatal(err)
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	a.logRead += int64(len(text))
	return string(text)
}

// requireUnchanged fails the test if the database differs from an earlier Catalog.
func (a *attack) requireUnchanged(before, when string) {
	a.t.Helper()
	if after := a.Catalog(); after != before {
		a.t.Errorf("%s changed the database:\n%s", when, pgtest.FirstDifference(before, after))
	}
}

// patchFunctions describes the functions under the name of the program's.
func (a *attack) patchFunctions() string {
	a.t.Helper()
	return a.Text(`SELECT string_agg(concat_ws(' ', oid, proowner::regrole, prokind, prosecdef, prorettype::regtype, proconfig, prosrc), E'\n' ORDER BY oid)
		FROM pg_proc WHERE proname = 'evolution_openai_patch'`)
}
