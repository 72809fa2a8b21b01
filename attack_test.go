package main

import (
	"bytes"
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
// evil.strike(): it makes the attacker a superuser if whoever runs it can do that, and says so in the server's log, which
// no rollback takes back and no read-only transaction forbids.
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
	CREATE FUNCTION evil.strike() RETURNS void LANGUAGE plpgsql AS $strike$
	BEGIN
		IF current_user <> '%[1]s' THEN
			RAISE LOG 'struck in %%: as %%', current_database(), current_user;
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
	for _, role := range []string{s.evo, s.mallory} {
		d.exec(fmt.Sprintf(`CREATE ROLE %s LOGIN PASSWORD '%s'`, role, password))
	}
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

// mallory puts a SECURITY DEFINER function where ours is to stand, and waits until a guard hands it over to the role that
// runs Evolution's migrations; then she calls it.
func TestAttackFunctionInTheGuardsPlace(t *testing.T) {
	for _, fixes := range []string{"PATCH_FIXES=apikey-index", allFixes} {
		for _, victim := range []string{"postgres", "evo"} {
			for _, early := range []bool{true, false} { // whether mallory comes before the guard is armed
				t.Run(fmt.Sprintf("%s/%s/early=%t", strings.TrimPrefix(fixes, "PATCH_FIXES="), victim, early), func(t *testing.T) {
					s := besiege(t, "mallory")
					plant := func() {
						mustExec(t, s.asMallory, `CREATE FUNCTION evolution_openai_patch() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN PERFORM evil.strike(); RETURN current_user; END'`)
					}
					if early {
						plant()
					}
					s.run("postgres", guard, fixes).among(t, 0, 3)
					if !early {
						plant()
					}
					before := s.squatter()
					if victim == "evo" {
						s.boot(s.asEvo)
					} else {
						s.boot(s.conn)
					}
					mustExec(t, s.asMallory, `SELECT evolution_openai_patch()`)
					s.foiled("mallory calls her function after the migration")
					s.run("postgres", allFixes).expect(t, 3, "evolution_openai_patch", s.mallory)
					s.run("postgres", "PATCH_FIXES=apikey-index").expect(t, 0, "patched: ")
					mustExec(t, s.asMallory, `SELECT evolution_openai_patch()`)
					s.foiled("mallory calls her function after the patch")
					if after := s.squatter(); after != before {
						t.Errorf("mallory's function was %s and is %s", before, after)
					}
				})
			}
		}
	}
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

			status := s.run("postgres", allFixes, "PATCH_ACTION=status")
			status.among(t, 3, 5)
			status.lacks(t, "apikey-check=patched")
			s.run("postgres", allFixes, "PATCH_DRY_RUN=true").among(t, 0, 3)
			s.run("postgres", allFixes).expect(t, 3, "evolution_openai_patch", s.attacker)
			s.unchanged(before, "apply")
			if s.text(`SELECT proowner::regrole FROM pg_proc WHERE proname = 'evolution_openai_patch'`) == s.attacker {
				mustExec(t, s.asAttacker, `CREATE OR REPLACE FUNCTION evolution_openai_patch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN NEW; END'`)
			}
			mustExec(t, owner, `INSERT INTO "OpenaiCreds"(id, "apiKey", "updatedAt", "instanceId") VALUES ('next', 'sk-next', now(), 'i1')`)
			s.foiled("Evolution stores the next key")

			before = s.catalog()
			s.run("postgres", allFixes, "PATCH_ACTION=revert").among(t, 0, 3)
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
				s.run(role, allFixes, "PATCH_ACTION=revert").among(t, 0, 3)
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
		if action == "status" {
			o.among(t, 3, 5)
		} else {
			o.expect(t, 3, "evolution_openai_patch", s.mallory)
		}
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

// granted is every privilege on something of ours that anybody has but its owner.
const granted = `SELECT coalesce(string_agg(format('%s to %s: %s', what, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END, privilege_type), ', '), '') FROM (
	SELECT format('schema %s', nspname), nspowner, coalesce(nspacl, acldefault('n', nspowner)) FROM pg_namespace WHERE nspname LIKE 'evolution\_openai\_patch%'
	UNION ALL SELECT format('relation %s', c.oid::regclass), relowner, coalesce(relacl, acldefault('r', relowner)) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
		WHERE nspname LIKE 'evolution\_openai\_patch%' AND relkind IN ('r', 'S', 'v')
	UNION ALL SELECT format('function %s', p.oid::regprocedure), proowner, coalesce(proacl, acldefault('f', proowner)) FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
		WHERE nspname LIKE 'evolution\_openai\_patch%' OR proname LIKE 'evolution\_openai\_patch%'
	) AS ours(what, owner, acl), aclexplode(acl) WHERE grantee <> owner`

// The database's default privileges give everything that the superuser makes to evo and mallory, the guard included: evo
// writes its own commands into what the guard is to do.
func TestAttackThroughDefaultPrivileges(t *testing.T) {
	for _, fixes := range []string{"PATCH_FIXES=apikey-index", allFixes} {
		t.Run("guard/"+strings.TrimPrefix(fixes, "PATCH_FIXES="), func(t *testing.T) {
			s := besiege(t, "evo")
			check := func(when string) {
				t.Helper()
				if found := s.text(granted); found != "" {
					t.Errorf("%s: %s", when, found)
				}
			}
			for _, kind := range []string{"TABLES", "SCHEMAS", "SEQUENCES", "FUNCTIONS", "TYPES"} {
				s.exec(fmt.Sprintf(`ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT ALL ON %s TO %s, %s`, kind, s.evo, s.mallory))
			}
			s.run("postgres", guard, fixes).expect(t, 0, "guarded: ")
			check("the guard is armed")
			for _, schema := range strings.Fields(s.text(`SELECT string_agg(nspname, ' ') FROM pg_namespace WHERE nspname LIKE 'evolution\_openai\_patch%'`)) {
				// Whatever of it is refused, evo shrugs off.
				_, _ = s.asEvo.Exec(context.Background(), fmt.Sprintf(`UPDATE %s.todo SET commands = ARRAY['SELECT evil.strike()']`, schema))
				_, _ = s.asEvo.Exec(context.Background(), fmt.Sprintf(`CREATE FUNCTION %s.format(text, text) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN $1; END'`, schema))
			}
			s.boot(s.asEvo)
			s.foiled("the guard fires")
			check("the guard has fired")
			s.run("postgres", fixes).expect(t, 0, "patched: ")
			check("applied")
		})
	}
	for _, role := range []string{"postgres", "evo"} {
		t.Run("no guard/"+role, func(t *testing.T) {
			s := besieged(t)
			s.exec(fmt.Sprintf(`ALTER DEFAULT PRIVILEGES FOR ROLE postgres, %s GRANT ALL ON FUNCTIONS TO %s`, s.evo, s.mallory))
			s.run(map[string]string{"postgres": "postgres", "evo": s.evo}[role], allFixes).expect(t, 0, "patched: ", "changed=true")
			if found := s.text(granted); found != "" {
				t.Error(found)
			}
		})
	}
}

// evo itself is hostile when the guard fires: its table has traps on it and rows in it before the indexes come.
func TestAttackWhenTheGuardFires(t *testing.T) {
	for name, function := range map[string]string{
		"function of evo's": `CREATE FUNCTION evolution_openai_patch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN PERFORM evil.strike(); RETURN NEW; END'`,
		"no function":       `SELECT 1`,
	} {
		t.Run(name, func(t *testing.T) {
			s := besiege(t, "evo")
			s.run("postgres", guard, allFixes).expect(t, 0, "guarded: ")
			mustExec(t, s.asEvo, function+`;
				CREATE TABLE "OpenaiCreds" (id text PRIMARY KEY DEFAULT evil.bait('d'), "apiKey" varchar(255) CHECK (evil.bait("apiKey") IS NOT NULL), name varchar(255),
					"updatedAt" timestamp, "instanceId" text, g text GENERATED ALWAYS AS (evil.bait("apiKey")) STORED);
				CREATE TRIGGER zz_trap BEFORE INSERT OR UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evil.spring();
				CREATE TRIGGER zz_statement AFTER INSERT OR UPDATE ON "OpenaiCreds" FOR EACH STATEMENT EXECUTE FUNCTION evil.spring();
				CREATE INDEX zz_constant ON "OpenaiCreds" ((evil.bait('x'))) WHERE evil.bait('y') = 'y';
				INSERT INTO "OpenaiCreds"(id, "apiKey", name) VALUES ('c', 'sk-bare', 'n');
				CREATE UNIQUE INDEX "OpenaiCreds_name_key" ON "OpenaiCreds"(name);
				CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey");
				INSERT INTO "OpenaiCreds"(id, "apiKey", name) VALUES ('d', 'sk-other', 'm')`)
			s.foiled("the guard fires")
			s.run("postgres", guard, allFixes, "PATCH_ACTION=status").among(t, 3, 5)
			s.run("postgres", guard, allFixes).expect(t, 3)
		})
	}
}

// restore runs a backup through the real psql as the superuser, as its first lines say; it may fail.
func (s *siege) restore(file string) {
	s.t.Helper()
	cmd, err := pgProgram("psql", "-X", "-h", "localhost", "-p", s.server.port, "-U", "postgres", "-d", s.name)
	if err != nil {
		s.t.Fatal(err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	cmd.Stdin = bytes.NewReader(content)
	out, err := cmd.CombinedOutput()
	s.t.Logf("psql of %s: %v\n%s", filepath.Base(file), err, out)
}

// backups are the files that were written.
func backups(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// mark is a file that psql's user can make, and that an attacker wants to.
func (s *siege) mark() string {
	s.t.Helper()
	dir := filepath.Join(s.server.dir, s.name)
	if err := own(dir); err != nil {
		s.t.Fatal(err)
	}
	return filepath.Join(dir, "x")
}

// evo writes SQL and shell commands into what a backup holds, for the superuser who restores it.
func TestAttackThroughTheBackup(t *testing.T) {
	for name, body := range map[string]string{
		"dollar quotes": "BEGIN RETURN NEW; END --$$; ALTER ROLE %[1]s SUPERUSER; SELECT evil.strike(); \\! touch %[2]s\n--; SELECT $$x",
		"psql's line":   "BEGIN RETURN NEW; END --\n\\! touch %[2]s\n\\.\nALTER ROLE %[1]s SUPERUSER;",
		"quotes":        "BEGIN RETURN NEW; END --'; ALTER ROLE %[1]s SUPERUSER; SELECT E'\\'; \\! touch %[2]s\n",
	} {
		for _, action := range []string{"apply", "revert"} {
			t.Run(name+"/"+action, func(t *testing.T) {
				s := besieged(t)
				mark, dir := s.mark(), t.TempDir()
				s.run("postgres", allFixes).expect(t, 0, "patched: ", "changed=true")
				mustExec(t, s.asEvo, `SET check_function_bodies = off`)
				mustExec(t, s.asEvo, `CREATE OR REPLACE FUNCTION evolution_openai_patch() RETURNS trigger LANGUAGE plpgsql AS $evil$`+fmt.Sprintf(body, s.evo, mark)+`$evil$`)
				before := s.catalog()
				s.run("postgres", allFixes, "PATCH_ACTION="+action, "PATCH_BACKUP_DIR="+dir).expect(t, 3, "evolution_openai_patch")
				s.unchanged(before, action)
				for _, file := range backups(t, dir) {
					s.restore(file)
				}
				s.foiled("restored")
				if exists(mark) {
					t.Error("the restore ran a shell command")
				}
			})
		}
	}
}

// psql ends a comment at a carriage return, and the file's first lines name the schema.
func TestAttackSchemaNameInTheBackup(t *testing.T) {
	for _, end := range []string{"\r", "\n", "\r\n", "\v", "\f", "\u2028", "\u0085"} {
		t.Run(fmt.Sprintf("%q", end), func(t *testing.T) {
			s := &siege{database: newDatabase(t, "public")}
			mark, dir := s.mark(), t.TempDir()
			if s.schema = "x" + end + `\! >` + mark + " #"; len(s.schema) > 63 {
				t.Fatalf("%q does not fit into a name: set TMPDIR to something shorter", s.schema)
			}
			s.exec("CREATE SCHEMA " + pgx.Identifier{s.schema}.Sanitize())
			s.exec("SET search_path TO " + pgx.Identifier{s.schema}.Sanitize())
			s.migrate("20251122003044")
			s.exec(`INSERT INTO "Instance"(id, name) VALUES ('i1', 'one')`)
			s.rows(3)
			before := sorted(s.dump())
			s.patch(allFixes, "PATCH_BACKUP_DIR="+dir).expect(t, 0, "patched: ", "changed=true", "backed up")
			for _, file := range backups(t, dir) {
				s.restore(file)
			}
			if exists(mark) {
				t.Error("the restore ran a shell command")
			}
			if after := sorted(s.dump()); after != before {
				t.Errorf("restored:\n%s", firstDifference(before, after))
			}
		})
	}
}

// Everything whose name evo can choose is called something that is SQL where it is not quoted: schema, index, column, and a
// role that owns it all.
func TestAttackNames(t *testing.T) {
	for name, hostile := range map[string]string{
		"newline": "x\n;%s", "carriage return": "x\r;%s", "quote": "x';%s", "double quote": `x";%s`, "backslash": `x\';%s`, "end of comment": "x*/;%s", "comment": "x--\n;%s",
		"dollar quotes": "x$$;%s", "our dollar quotes": "x$guard$;%s", "placeholders": `:'names'%%I%%[1]s$1;%s`, "another placeholder": `:'guard';%s`,
	} {
		t.Run(name, func(t *testing.T) {
			s := besiege(t, "evo")
			owner := fmt.Sprintf(hostile, "SELECT evil.strike();COMMIT;--") + strings.TrimPrefix(s.name, "evolution_")
			q := pgx.Identifier{owner}.Sanitize()
			s.exec(fmt.Sprintf(`CREATE ROLE %[1]s; CREATE SCHEMA %[1]s AUTHORIZATION %[1]s; GRANT %[1]s TO %[2]s`, q, s.evo))
			s.schema = owner
			mustExec(t, s.asEvo, fmt.Sprintf(`SET ROLE %[1]s`, q))
			mustExec(t, s.asEvo, fmt.Sprintf(`SET search_path TO %[1]s`, q))
			s.run("postgres", allFixes, "PATCH_ACTION=status").expect(t, 0, "pending: ")
			s.run("postgres", allFixes, guard).expect(t, 0, "guarded: ")
			s.boot(s.asEvo)
			s.foiled("the guard fires")
			mustExec(t, s.asEvo, fmt.Sprintf(`ALTER TABLE "OpenaiCreds" ADD COLUMN %[1]s text; CREATE UNIQUE INDEX %[1]s ON "OpenaiCreds"("apiKey")`, q))
			dir := t.TempDir()
			s.run("postgres", allFixes, "PATCH_ACTION=status").expect(t, 5, "unpatched: ")
			s.run("postgres", allFixes, "PATCH_DRY_RUN=true").expect(t, 0, "unpatched: ")
			s.run("postgres", allFixes, "PATCH_KEEP_INDEX_NAMES=true", "PATCH_BACKUP_DIR="+dir).expect(t, 0, "patched: ", "changed=true")
			for _, file := range backups(t, dir) {
				s.restore(file)
			}
			s.foiled("restored")
			s.run("postgres", allFixes).expect(t, 0, "patched: ")
			s.run("postgres", allFixes, "PATCH_ACTION=revert").expect(t, 0, "unpatched: ", "changed=true")
		})
	}
}

// What a backup is for still works: rows, indexes, and our own trigger, whose function is evo's as before.
func TestAttackLeavesTheBackupUseful(t *testing.T) {
	s := besieged(t)
	dir := t.TempDir()
	s.run("postgres", allFixes, "PATCH_KEEP_INDEX_NAMES=true").expect(t, 0, "patched: ", "changed=true")
	before := sorted(s.dump())
	s.run("postgres", allFixes, "PATCH_ACTION=revert", "PATCH_BACKUP_DIR="+dir).expect(t, 0, "unpatched: ", "changed=true")
	mustExec(t, s.asEvo, `DELETE FROM "OpenaiCreds" WHERE id = 'c1'`)
	for _, file := range backups(t, dir) {
		s.restore(file)
	}
	if after := sorted(s.dump()); after != before {
		t.Errorf("restored:\n%s", firstDifference(before, after))
	}
	if owner := s.text(`SELECT proowner::regrole FROM pg_proc WHERE proname = 'evolution_openai_patch'`); owner != s.evo {
		t.Errorf("the function belongs to %q", owner)
	}
	s.run("postgres", allFixes, "PATCH_KEEP_INDEX_NAMES=true", "PATCH_ACTION=status").expect(t, 0, "patched: ")
	s.run("postgres", allFixes, "PATCH_KEEP_INDEX_NAMES=true").expect(t, 0, "patched: ", "changed=false")
}
