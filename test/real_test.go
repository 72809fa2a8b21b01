package test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// The program of the weekly job passes with a server that answers as a patched Evolution does, and says which step fails with
// each that does not.
func TestReal(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "real")
	if out, err := pgtest.RootCommand("go", "build", "-o", program, "./test/real").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, c := range map[string]struct {
		prepare func(d *pgtest.Database, s *pgtest.EvolutionServer)
		code    int
		says    string
	}{
		"patched": {func(d *pgtest.Database, _ *pgtest.EvolutionServer) { d.Patch().Expect(t, 0, "patched: ") }, 0, "two instances share one key"},
		"patched, and the client trims": {func(d *pgtest.Database, s *pgtest.EvolutionServer) {
			d.Patch().Expect(t, 0, "patched: ")
			s.Sends = strings.TrimSpace
		}, 0, "two instances share one key"},
		"not patched": {func(*pgtest.Database, *pgtest.EvolutionServer) {}, 1, "store the key in instance second-"},
		"the index only": {func(d *pgtest.Database, _ *pgtest.EvolutionServer) {
			d.Patch(pgtest.IndexOnly).Expect(t, 0, "patched: ")
		}, 1, "HTTP 400, want 201: "},
		"another key is sent":    {func(d *pgtest.Database, s *pgtest.EvolutionServer) { d.Patch(); s.Sends = strings.ToUpper }, 1, "this is not the key"},
		"OpenAI is not asked":    {func(d *pgtest.Database, s *pgtest.EvolutionServer) { d.Patch(); s.OpenAI = "127.0.0.1:1" }, 1, "HTTP 500, want 200: "},
		"no request is accepted": {func(_ *pgtest.Database, s *pgtest.EvolutionServer) { s.URL += "/elsewhere" }, 1, "wait for Evolution: HTTP 404"},
	} {
		t.Run(name, func(t *testing.T) {
			address := "127.0.0.1:" + pgtest.FreePort()
			d := pgtest.NewEvolution(t, "evolution_api")
			s := pgtest.NewEvolutionServer(t, d, address)
			c.prepare(d, s)
			out, code := runReal(t, program, "EVOLUTION="+s.URL, "OPENAI_ADDRESS="+address, "AUTHENTICATION_API_KEY="+pgtest.EvolutionKey)
			if code != c.code || !strings.Contains(out, c.says) {
				t.Errorf("exit status %d, want %d with %q:\n%s", code, c.code, c.says, out)
			}
			got := regexp.MustCompile(`Authorization: "Bearer sk-proj-\w+( ?)"\n`).FindStringSubmatch(out)
			if c.code == 0 && (got == nil || (got[1] == "") != (s.Sends != nil)) {
				t.Errorf("it does not print the header as it came:\n%s", out)
			}
		})
	}
	t.Run("wrong key of the gateway", func(t *testing.T) {
		address := "127.0.0.1:" + pgtest.FreePort()
		s := pgtest.NewEvolutionServer(t, pgtest.NewEvolution(t, "evolution_api"), address)
		if out, code := runReal(t, program, "EVOLUTION="+s.URL, "OPENAI_ADDRESS="+address, "AUTHENTICATION_API_KEY=x"); code != 1 || !strings.Contains(out, "create instance first-") || !strings.Contains(out, "HTTP 401, want 201") {
			t.Errorf("exit status %d:\n%s", code, out)
		}
	})
	t.Run("a licence is required", func(t *testing.T) { // as from Evolution 2.4 on
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			_, _ = w.Write([]byte(`{"version":"2.4.0"}`))
		}))
		defer server.Close()
		if out, code := runReal(t, program, "EVOLUTION="+server.URL, "OPENAI_ADDRESS=127.0.0.1:0"); code != 1 || !strings.Contains(out, "Evolution API 2.4.0 answers\ncreate instance first-") || !strings.Contains(out, "HTTP 503, want 201") {
			t.Errorf("exit status %d:\n%s", code, out)
		}
	})
}

// scripts/real.sh fails if the program does, or if the release of Evolution is not known, and removes what it started.
func TestRealScript(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		patched bool
		release string
		code    int
	}{"known": {true, "2.3.7", 0}, "newer": {true, "2.4.0-rc or later", 1}, "not patched": {false, "2.3.7", 1}} {
		t.Run(name, func(t *testing.T) {
			address := "127.0.0.1:" + pgtest.FreePort()
			d := pgtest.NewEvolution(t, "evolution_api")
			if c.patched {
				d.Patch().Expect(t, 0, "patched: ")
			}
			s := pgtest.NewEvolutionServer(t, d, address)
			s.Key = "" // any
			dir := t.TempDir()
			docker := `#!/bin/sh
echo "$*" >>` + dir + `/log
case "$*" in *" run --rm evolution-openai-patch status") echo 'patched: postgres:5432/evolution schema=evolution_api changed=false evolution="` + c.release + `"' ;; esac
`
			if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(docker), 0o755); err != nil {
				t.Fatal(err)
			}
			cmd := pgtest.RootCommand("scripts/real.sh")
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "EVOLUTION="+s.URL, "OPENAI_ADDRESS="+address)
			out, _ := cmd.CombinedOutput()
			log, err := os.ReadFile(filepath.Join(dir, "log"))
			if code := cmd.ProcessState.ExitCode(); err != nil || code != c.code {
				t.Errorf("exit status %d, want %d, %v:\n%s", code, c.code, err, out)
			}
			commands := strings.Split(strings.TrimSpace(string(log)), "\n")
			if !strings.HasSuffix(commands[1], " up -d") || !strings.HasSuffix(commands[len(commands)-1], " down -v --remove-orphans") {
				t.Errorf("the commands are %q", commands)
			}
		})
	}
}

// runReal runs the program, and returns its output and its exit status.
func runReal(t *testing.T, program string, environ ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(program)
	cmd.Env = append(append(os.Environ(), "WAIT=8s"), environ...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}
