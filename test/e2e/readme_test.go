//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// The README's command builds the image in a clone.
func TestE2EReadmeBuild(t *testing.T) {
	buildImages(t)
	const build, built = "docker build -t " + service + " .", e2eProject + "/readme"
	if !strings.Contains(pgtest.Read(t, "README.md"), "`"+build+"`") {
		t.Fatalf("the README does not say %s", build)
	}
	t.Cleanup(func() { docker(t, "rmi", "-f", built) })
	mustRun(t, "sh", "-c", strings.Replace(build, service, built, 1))
	docker(t, "run", "--rm", "--network", "none", built, "version")
}

// A stack that consists of what the README gives to paste, a database and an Evolution works, in a folder without a clone, and so do
// the README's commands.
func TestE2EReadme(t *testing.T) {
	t.Parallel()
	// What the newcomer's stack has already, and the connection string that is to be put in.
	const stackBefore = `networks: {YOUR_NETWORK: {}}
services:
  postgres:
    image: postgres:17
    environment: {POSTGRES_USER: evolution, POSTGRES_PASSWORD: ` + pgtest.ExamplePassword + `, POSTGRES_DB: evolution}
    healthcheck: {test: [CMD, pg_isready, -h, 127.0.0.1], interval: 1s, retries: 60}
    networks: [YOUR_NETWORK]
  redis: {networks: [YOUR_NETWORK]}
`
	pasted := strings.Replace(pgtest.Block(t, "README.md", "paste"), "postgresql://USER:PASSWORD@postgres:5432/evolution?schema=evolution_api", exampleURI, 1)
	if !strings.Contains(pasted, exampleURI) {
		t.Fatalf("the connection string in the README has changed:\n%s", pasted)
	}
	file := write(t, t.TempDir()+"/compose.yml", stackBefore+pasted)
	forEachCompose(t, file, func(t *testing.T, s *stack) {
		s.must("up", "-d")
		s.container("redis")
		says(t, s.container("evolution"), sharing)
		s.startedInOrder("guarded: ")
		if o := s.run("logs", service); o.Code != 0 || !strings.Contains(o.Stdout, "guarded: ") {
			t.Errorf("the logs do not say what happened: %s", o.Stdout)
		}

		undo := strings.Split(strings.TrimSpace(pgtest.Block(t, "README.md", "revert")), "\n")
		for i, line := range undo {
			action, found := strings.CutPrefix(line, "docker compose ")
			if !found {
				t.Fatalf("%q is not a command of compose", line)
			}
			if o := s.run(strings.Fields(action)...); i < len(undo)-1 {
				o.Expect(t, 0)
			} else {
				o.Expect(t, 3, "remedy: ")
			}
		}

		s.restore()
		inserts := []string{"YOUR_NETWORK", s.project + "_YOUR_NETWORK", "postgresql://…", exampleURI, " " + service, " " + image}
		for i, line := range strings.Split(strings.TrimSpace(pgtest.Block(t, "README.md", "once")), "\n") {
			for n := 0; n < len(inserts); n += 2 {
				if !strings.Contains(line, inserts[n]) {
					t.Fatalf("%q has no %q", line, inserts[n])
				}
			}
			line = strings.NewReplacer(inserts...).Replace(line) // all at once: the network's name begins like the image's
			o := runCommand(t, "sh", "-c", line)
			o.Expect(t, 0, "patched: ", "changed="+map[int]string{0: "true", 1: "false"}[i])
			if i == 1 && !strings.Contains(pgtest.Read(t, "README.md"), "\n```\n"+o.Stdout+"```\n") {
				t.Errorf("the README does not show what status prints:\n%s", o.Stdout)
			}
		}
		s.shares(true)
	}, `{services: {evolution: {networks: [YOUR_NETWORK], environment: {DATABASE_CONNECTION_URI: "`+exampleURI+`"}}}}`)
}
