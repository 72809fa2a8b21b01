// Command mutants changes one thing at a time in source files of the program, and prints the changes that no unit test
// notices.
//
//	go run ./test/mutants [-n NUMBER] [-seed SEED] patch/plan/plan.go patch/postgres/classify.go …
//
// The files stay as they are: the compiler is given the changed ones with -overlay. A change that makes no difference is no
// excuse: what it changes is not needed, or can be said so that every change makes one.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

func main() {
	log.SetFlags(0)
	n := flag.Int("n", 0, "try as many of the mutants, chosen at random; 0: all")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "of the choice")
	flag.Parse()
	var all []mutant
	for _, file := range flag.Args() {
		found, err := mutantsOf(file)
		if err != nil {
			log.Fatal(err)
		}
		all = append(all, found...)
	}
	if *n > 0 && *n < len(all) {
		log.Printf("-n %d -seed %d, of %d mutants", *n, *seed, len(all))
		rand.New(rand.NewPCG(*seed, 0)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		all = all[:*n]
	}
	counts := tryAll(all)
	fmt.Printf("mutants: %d, killed: %d, not compiled: %d, survived: %d\n", len(all), counts[killed], counts[invalid], counts[survived])
	if counts[survived] > 0 {
		os.Exit(1)
	}
}

// tryAll tries mutants, as many at once as there are processors, and prints those that survive. It returns how many came to
// each outcome.
func tryAll(all []mutant) map[outcome]int {
	var mu sync.Mutex
	var group sync.WaitGroup
	counts, next := map[outcome]int{}, make(chan mutant)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for m := range next {
				o := m.try()
				mu.Lock()
				if counts[o]++; o == survived {
					fmt.Println(m)
				}
				mu.Unlock()
			}
		})
	}
	for _, m := range all {
		next <- m
	}
	close(next)
	group.Wait()
	return counts
}

// An outcome is what became of a mutant.
type outcome int

const (
	killed outcome = iota
	survived
	invalid // it does not compile
)

// try runs the unit tests of the mutant's package, and of those that use it.
func (m mutant) try() outcome {
	dir, err := os.MkdirTemp("", "mutant")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path, err := filepath.Abs(m.file)
	if err != nil {
		log.Fatal(err)
	}
	changed, overlay := filepath.Join(dir, "changed.go"), filepath.Join(dir, "overlay.json")
	text, _ := json.Marshal(map[string]any{"Replace": map[string]string{path: changed}}) // cannot fail: strings
	for file, content := range map[string][]byte{changed: m.source, overlay: text} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			log.Fatal(err)
		}
	}
	cmd := exec.Command("go", "test", "-p=1", "-vet=off", "-ldflags=-s -w", "-failfast", "-count=1", "-timeout=60s", "-overlay", overlay, "./"+filepath.Dir(m.file), "./patch/catalog", "./patch/config", "./patch")
	cmd.Env = append(os.Environ(), "MODEL_CHECKS=1000")
	switch out, err := cmd.CombinedOutput(); {
	case err == nil:
		return survived
	case bytes.Contains(out, []byte("[build failed]")):
		return invalid
	}
	return killed
}

// String names the mutant.
func (m mutant) String() string {
	line := 1 + bytes.Count(m.original[:m.offset], []byte("\n"))
	return fmt.Sprintf("%s:%d: %s", m.file, line, m.what)
}
