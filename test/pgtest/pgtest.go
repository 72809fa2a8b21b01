// Package pgtest helps to test the program against real PostgreSQL servers. It starts servers, gives each test a
// database of its own, migrates that as Prisma does, runs the program as a function or as the built binary, and puts
// faulty networks between the two.
//
// A package of tests calls [Main] from its TestMain.
//
//	pgtest.go      Main, and the repository's root folder
//	secrets.go     passwords and keys, which the program must never print
//	programs.go    the programs of PostgreSQL and other servers
//	server.go      a PostgreSQL server
//	database.go    a database of one test's own
//	migrate.go     what `prisma migrate deploy` does
//	evolution.go   what Evolution does, and what the program changes for it
//	dump.go        a database as text, and comparing two
//	run.go         the program as a function, and what it prints
//	sessions.go    how many sessions the program has, and sessions that stall
//	messages.go    what tests must know of the program's wording
//	process.go     the program as the built binary
//	network.go     a network that counts what passes, and breaks
//	wire.go        what passes through it, message by message
//	held_commit.go a COMMIT that waits
//	pgbouncer.go   a connection pooler
//	listen.go      free ports, and servers that misbehave
//	nameserver.go  host names, name servers that misbehave, and an address that is silent
//	wait.go        polling
//	files.go       temporary files
//	repository.go  files of the repository, and blocks of its documents
//	http.go        stand-ins for Evolution's and OpenAI's HTTP
package pgtest

import (
	"errors"
	"flag"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Shared is the server that most tests use. Main starts it.
var Shared *Server

// atOnce is the least number of tests of a package that run at the same time. Most of a test is waiting for servers.
const atOnce = 16

var atEnd []func()

// AtEnd registers a function that Main calls after the last test.
func AtEnd(f func()) { atEnd = append(atEnd, f) }

// Main starts the shared server, runs the tests, stops the server and returns the exit status. It is 1 if the program
// printed a password or a key in any test.
func Main(m *testing.M) int {
	runtime.LockOSThread() // the kernel stops the server when the thread that started it ends
	unsetPostgresVariables()
	flag.Parse()
	_ = flag.Set("test.parallel", strconv.Itoa(max(atOnce, flag.Lookup("test.parallel").Value.(flag.Getter).Get().(int))))
	if err := names.start(); err != nil {
		log.Print(err)
		return 1
	}
	dir, err := os.MkdirTemp(fastDir(), "eop")
	if err != nil {
		log.Print(err)
		return 1
	}
	defer os.RemoveAll(dir)
	if Shared, err = StartServer(dir); err != nil {
		log.Print(err)
		return 1
	}
	defer Shared.Kill()
	code := m.Run()
	for _, f := range atEnd {
		f()
	}
	if secret := printedSecret(); secret != "" {
		log.Printf("FAIL: the program printed a secret in one of the tests: %s", secret)
		return 1
	}
	return code
}

// unsetPostgresVariables removes libpq's variables from the environment, so that no test depends on the user's.
func unsetPostgresVariables() {
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "PG") && name != "PG_BINDIR" {
			_ = os.Unsetenv(name)
		}
	}
}

// findRoot returns the root folder of the repository, which contains the working directory.
var findRoot = sync.OnceValues(func() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		module, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(module), "module evolution-openai-patch\n") {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("the working directory is not in the repository")
		}
		dir = parent
	}
})

// Root returns the path of an element of the repository, such as Root("scripts", "build.sh"), or of its root folder.
func Root(elem ...string) string {
	dir, err := findRoot()
	if err != nil {
		panic(err)
	}
	return filepath.Join(append([]string{dir}, elem...)...)
}
