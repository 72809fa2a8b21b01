package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// siege is a database with enemies in it. Evolution's schema and tables belong to evo; mallory may create things in the
// same schema, and nothing else. One of them, the attacker, owns the schema evil, and lays out code that calls
// evil.strike(): run by anybody else, it makes the attacker a superuser if it can, and leaves two traces that no rollback
// takes back: a line in the server's log, also in a read-only transaction, and a step of the sequence evil.evil_ran.
type siege struct {
	*database
	evo, mallory     string // roles
	asEvo, asMallory *pgx.Conn
	attacker         string // one of the two
	asAttacker       *pgx.Conn
	seen             int // strikes that have been reported
}

// evil is the attacker's tool box: a function, a trigger's, and one that PostgreSQL takes for a constant.
const evil = `
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

// besiege makes a database in which attacker, evo or mallory, lies in wait; the schema is empty.
func besiege(t *testing.T, attacker string) *siege {
	t.Helper()
	d := newDatabase(t, "evolution_api")
	s := &siege{database: d, evo: d.name + "_evo", mallory: d.name + "_mallory", attacker: d.name + "_" + attacker}
	s.role(s.evo, "")
	s.role(s.mallory, "")
	d.exec(fmt.Sprintf(`ALTER SCHEMA evolution_api OWNER TO %s; GRANT USAGE, CREATE ON SCHEMA evolution_api TO %s;
		CREATE SCHEMA evil AUTHORIZATION %s; GRANT USAGE ON SCHEMA evil TO PUBLIC`, s.evo, s.mallory, s.attacker))
	s.asEvo, s.asMallory = s.login(s.evo), s.login(s.mallory)
	s.asAttacker = s.asEvo
	if s.attacker == s.mallory {
		s.asAttacker = s.asMallory
	}
	mustExec(t, s.asAttacker, fmt.Sprintf(evil, s.attacker))
	return s
}

// role makes a role that goes with all it owns after a test that passed; a failed one's database is kept as it is.
func (s *siege) role(name, options string) {
	s.t.Helper()
	name = pgx.Identifier{name}.Sanitize()
	s.exec(fmt.Sprintf(`CREATE ROLE %s LOGIN PASSWORD '%s' %s`, name, password, options))
	s.t.Cleanup(func() {
		if !s.t.Failed() {
			s.exec(fmt.Sprintf(`REASSIGN OWNED BY %[1]s TO postgres; DROP OWNED BY %[1]s; DROP ROLE %[1]s`, name))
		}
	})
}

func (s *siege) login(role string) *pgx.Conn {
	s.t.Helper()
	c := connectTo(s.t, uriFor(role, "localhost:"+s.server.port, s.name, ""))
	mustExec(s.t, c, "SET search_path TO evolution_api")
	mustExec(s.t, c, "SET lock_timeout TO '3s'") // a test that waits for itself ends
	return c
}

// boot is Evolution's first start, as the role of this connection: its tables, and two keys.
func (s *siege) boot(as *pgx.Conn) {
	s.t.Helper()
	mustDeploy(s.t, as, "20251122003044")
	mustExec(s.t, as, `INSERT INTO "Instance"(id, name) VALUES ('i1', 'one'), ('i2', 'two')`)
	mustExec(s.t, as, `INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId") VALUES ('c1', 'n1', 'sk-one', now(), 'i1'), ('c2', 'n2', 'sk-two', now(), 'i2')`)
}

// besieged is evo's database after Evolution's first start, with evo as the attacker.
func besieged(t *testing.T) *siege {
	t.Helper()
	s := besiege(t, "evo")
	s.boot(s.asEvo)
	return s
}

// run runs the program as a role, and then asks whether the attacker's code ran.
func (s *siege) run(role string, environ ...string) outcome {
	s.t.Helper()
	o := s.try(context.Background(), role, environ...)
	s.foiled(strings.Join(environ, " ") + " as " + role)
	return o
}

func (s *siege) try(ctx context.Context, role string, environ ...string) outcome {
	s.t.Helper()
	return execute(s.t, ctx, append([]string{"DATABASE_CONNECTION_URI=" + s.uriAs(role), "PATCH_WAIT_TIMEOUT=2s", "PATCH_LOCK_RETRY=2s"}, environ...)...)
}

// foiled fails the test if the attacker's code has run as anybody else since it was last called.
func (s *siege) foiled(when string) {
	s.t.Helper()
	log, err := os.ReadFile(filepath.Join(s.server.dir, "log"))
	if err != nil {
		s.t.Fatal(err)
	}
	if s.text(`SELECT is_called FROM evil.evil_ran`) == "true" {
		s.t.Errorf("%s: the attacker's function took numbers from its sequence as another role", when)
		s.exec(`ALTER SEQUENCE evil.evil_ran RESTART`)
	}
	strikes := regexp.MustCompile(`struck in `+s.name+`: as (\w+)`).FindAllStringSubmatch(string(log), -1)
	if fresh := strikes[s.seen:]; len(fresh) > 0 {
		s.t.Errorf("%s: the attacker's code ran as %s, times: %d", when, fresh[0][1], len(fresh))
	}
	s.seen = len(strikes)
	for _, role := range []string{s.evo, s.mallory} {
		if s.text(`SELECT rolsuper FROM pg_roles WHERE rolname = $1`, role) == "true" {
			s.t.Errorf("%s: %s is a superuser", when, role)
			s.exec("ALTER ROLE " + role + " NOSUPERUSER") // so that the next attack is seen too
		}
	}
}

// among is for what may end in several ways.
func (o outcome) among(t *testing.T, codes ...int) {
	t.Helper()
	if !slices.Contains(codes, o.code) {
		t.Errorf("exit status %d, want one of %v\n%s%s", o.code, codes, o.stderr, o.stdout)
	}
}

// lacks checks that something is not in the output.
func (o outcome) lacks(t *testing.T, words ...string) {
	t.Helper()
	for _, w := range words {
		if strings.Contains(o.stdout+o.stderr, w) {
			t.Errorf("%q is in the output:\n%s%s", w, o.stderr, o.stdout)
		}
	}
}

// unchanged fails the test if the database is not what it was.
func (s *siege) unchanged(before, when string) {
	s.t.Helper()
	if after := s.catalog(); after != before {
		s.t.Errorf("%s changed something:\n%s", when, firstDifference(before, after))
	}
}

// squatter is what there is of functions under our name, to the last detail.
func (s *siege) squatter() string {
	s.t.Helper()
	return s.text(`SELECT string_agg(concat_ws(' ', oid, proowner::regrole, prokind, prosecdef, prorettype::regtype, proconfig, prosrc), E'\n' ORDER BY oid)
		FROM pg_proc WHERE proname = 'evolution_openai_patch'`)
}

// Somebody prepares a harmless function under our name, lets the program put its trigger on it, and changes it then.
func TestAttackPreparedFunction(t *testing.T) {
	const harmless = `CREATE FUNCTION evolution_api.evolution_openai_patch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$`
	model := evolution(t, "evolution_api")
	model.patch(allFixes).expect(t, 0, "patched: ")
	ours := model.text(`pg_get_functiondef('evolution_api.evolution_openai_patch()'::regprocedure)`)
	for name, c := range map[string]struct{ tables, attacker, function string }{
		"mallory's, table of the superuser":               {"postgres", "mallory", harmless},
		"mallory's, table of evo":                         {"evo", "mallory", harmless},
		"mallory's, exactly ours, table of the superuser": {"postgres", "mallory", ours},
		"mallory's, exactly ours, table of evo":           {"evo", "mallory", ours},
		"evo's, table of the superuser":                   {"postgres", "evo", harmless},
		"evo's, exactly ours, table of the superuser":     {"postgres", "evo", ours},
		"evo's, table of evo":                             {"evo", "evo", harmless},
	} {
		t.Run(name, func(t *testing.T) {
			s := besiege(t, c.attacker)
			owner := s.conn
			if c.tables == "evo" {
				owner = s.asEvo
			}
			s.boot(owner)
			mustExec(t, s.asAttacker, c.function)
			before := s.catalog()

			for _, look := range []string{"PATCH_ACTION=status", "PATCH_DRY_RUN=true"} {
				s.run("postgres", allFixes, look).expect(t, 3, "evolution_openai_patch", s.attacker)
			}
			s.run("postgres", allFixes).expect(t, 3, "evolution_openai_patch", s.attacker)
			s.unchanged(before, "apply")
			if s.text(`SELECT proowner::regrole FROM pg_proc WHERE proname = 'evolution_openai_patch'`) == s.attacker {
				mustExec(t, s.asAttacker, `CREATE OR REPLACE FUNCTION evolution_openai_patch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN NEW; END'`)
			}
			mustExec(t, owner, `INSERT INTO "OpenaiCreds"(id, "apiKey", "updatedAt", "instanceId") VALUES ('next', 'sk-next', now(), 'i1')`)
			s.foiled("Evolution stores the next key")

			before = s.catalog()
			s.run("postgres", allFixes, "PATCH_ACTION=revert").expect(t, 3, "evolution_openai_patch", s.attacker)
			s.unchanged(before, "revert")
			squatter := s.squatter()
			s.run("postgres", "PATCH_FIXES=apikey-index").expect(t, 0, "patched: ")
			if after := s.squatter(); after != squatter {
				t.Errorf("the function was %s and is %s", squatter, after)
			}
		})
	}
}

// Nothing was ever applied here, yet a function under our name is there: revert must not take it for ours, neither strip
// spaces for it nor drop it.
func TestAttackRevertOfAnothersFunction(t *testing.T) {
	for _, attacker := range []string{"mallory", "evo"} {
		t.Run(attacker, func(t *testing.T) {
			s := besiege(t, attacker)
			s.boot(s.asEvo)
			mustExec(t, s.asEvo, `UPDATE "OpenaiCreds" SET "apiKey" = "apiKey" || '  '`)
			mustExec(t, s.asAttacker, `CREATE FUNCTION evolution_openai_patch() RETURNS text LANGUAGE sql AS 'SELECT 1::text'`)
			before := s.catalog()
			for _, role := range []string{"postgres", s.evo} {
				s.run(role, allFixes).expect(t, 3, "evolution_openai_patch", s.attacker)
				s.unchanged(before, "apply as "+role)
				s.run(role, allFixes, "PATCH_ACTION=revert").expect(t, 3, "evolution_openai_patch", s.attacker)
				s.unchanged(before, "revert as "+role)
			}
		})
	}
}

// A procedure bears our name, so no function can.
func TestAttackProcedureUnderOurName(t *testing.T) {
	s := besiege(t, "mallory")
	s.boot(s.asEvo)
	mustExec(t, s.asMallory, `CREATE PROCEDURE evolution_openai_patch() LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); END'`)
	before := s.catalog()
	for _, action := range []string{"apply", "revert", "status"} {
		o := s.run("postgres", allFixes, "PATCH_ACTION="+action)
		o.lacks(t, "42809", "42723", "apikey-check=patched")
		o.expect(t, 3, "evolution_openai_patch", s.mallory)
		s.unchanged(before, action)
	}
	s.run("postgres", "PATCH_FIXES=apikey-index").expect(t, 0, "patched: ", "changed=true")
}

// evo's trigger on another table uses our function, so that it cannot be dropped.
func TestAttackOurFunctionIsNeededElsewhere(t *testing.T) {
	s := besieged(t)
	s.run("postgres", allFixes).expect(t, 0, "patched: ", "changed=true")
	mustExec(t, s.asEvo, `CREATE TRIGGER zz_theirs BEFORE INSERT ON "Instance" FOR EACH ROW EXECUTE FUNCTION evolution_openai_patch()`)
	before := s.catalog()
	for _, role := range []string{"postgres", s.evo} {
		s.run(role, allFixes, "PATCH_ACTION=revert").expect(t, 3, "zz_theirs", "Instance")
		s.unchanged(before, "revert as "+role)
	}
	mustExec(t, s.asEvo, `DROP TRIGGER zz_theirs ON "Instance"`)
	s.run("postgres", allFixes, "PATCH_ACTION=revert").expect(t, 0, "unpatched: ", "changed=true")
}
