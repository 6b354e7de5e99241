package settings_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/swarmlab/swarmlab/lab/host/settings"
)

// small is a topology that is accepted; cases replace a part of it.
const small = `subnet: 192.168.33.0/24
nodes:
  - {name: manager,  role: manager,  octet: 11}
  - {name: frontend, role: frontend, octet: 20, count: 2}
  - {name: store,    role: store,    octet: 250, memory: 768, cpus: 2}
`

// topologyFiles is the one table of files that Go and Ruby take, and of those that both refuse.
func topologyFiles(t *testing.T) []fileCase {
	t.Helper()
	with := func(old, instead string) string {
		if !strings.Contains(small, old) {
			t.Fatalf("%q is not in the topology", old)
		}
		return strings.Replace(small, old, instead, 1)
	}
	subnet := func(cidr string) string { return with("192.168.33.0/24", cidr) }
	octet := func(number string) string { return with("octet: 11", "octet: "+number) }
	name := func(word string) string { return with("name: manager,", "name: "+word+",") }
	files := []fileCase{}
	accepted := func(what, text string) { files = append(files, fileCase{what, text, true}) }
	refused := func(what, text string) { files = append(files, fileCase{what, text, false}) }

	accepted("small", small)
	accepted("a byte order mark", "\ufeff"+small)
	accepted("line breaks of Windows", strings.ReplaceAll(small, "\n", "\r\n"))
	accepted("both", "\ufeff"+strings.ReplaceAll(small, "\n", "\r\n"))
	accepted("no line break at the end", strings.TrimSuffix(small, "\n"))
	accepted("a mark before it", "---\n"+small)
	accepted("a mark before it and blanks", "# first\n\n---   # here\n"+small)
	refused("an empty document before it", "---\n---\n"+small)
	refused("an empty document behind it", small+"---\n")
	refused("an empty document behind it, and a comment", small+"--- # end\n")
	refused("many marks", "----\n"+small)
	accepted("comments in other scripts", "# größer 表 👩\n"+small+"# C:\\x\t& * ! << %\n")
	accepted("quotes", with("{name: manager,  role: manager,", `{"name": 'manager', 'role': "manager",`))
	accepted("a quoted subnet", subnet(`"192.168.33.0/24"`))
	accepted("block style", "subnet: 192.168.33.0/24\nnodes:\n- name: manager\n  role: manager\n  octet: 11\n- name: w\n  role: worker\n  count: 3\n  octet: 30\n")
	accepted("flow style over lines", "{subnet: 192.168.33.0/24, nodes: [\n  {name: manager,\n   role: manager, octet: 11},\n  {name: a, role: store, octet: 12},\n]}\n")
	accepted("roles of one's own", "roles: [cache, x-1]\n"+with("name: store,    role: store,", "name: mine, role: cache,"))
	accepted("roles in quotes", "roles: [\"cache\", 'x-1', \"y\"]\n"+small)
	accepted("no roles of one's own", "roles: []\n"+small)
	accepted("YAML 1.1 says yes", name("yes"))
	accepted("YAML 1.1 says on", name("on"))
	accepted("a quoted word that YAML takes for another", name(`"true"`))
	accepted("the largest of everything", with("memory: 768, cpus: 2", "memory: 1048576, cpus: 256"))
	accepted("the smallest of everything", with("octet: 250, memory: 768, cpus: 2", "octet: 2, memory: 128, cpus: 1"))
	accepted("a large subnet", subnet("10.64.0.0/10"))
	accepted("the smallest subnet", strings.NewReplacer("192.168.33.0/24", "192.168.33.128/27", "octet: 250", "octet: 30").Replace(small))

	// Values on lines of their own, in block style.
	block := func(subnet, name string) string {
		return "subnet:" + subnet + "\nnodes:\n- name:" + name + "\n  role: manager\n  octet: 11\n- name: w\n  role: worker\n  octet: 30\n"
	}
	accepted("values on lines of their own", block("\n 192.168.33.0/24", "\n   manager"))
	accepted("quoted values on lines of their own", block("\n\n  \"192.168.33.0/24\" # here", "  # below\n        'manager'"))
	accepted("nodes below dashes", "subnet: 192.168.33.0/24\nnodes:\n  -\n    name: manager\n    role: manager\n    octet: 11\n")
	refused("a value below its key", block("\n192.168.33.0/24", " manager"))
	refused("a quoted value below its key", block("\n\"192.168.33.0/24\"", " manager"))
	refused("a value below its key, with a comment between", block(" # it comes\n# now\n192.168.33.0/24", " manager"))
	refused("a value below its key, within a list", block(" 192.168.33.0/24", "\n  manager"))
	refused("a value below its dash", block(" 192.168.33.0/24", "\nmanager"))
	refused("a list below its key", "roles:\n[cache]\n"+small)
	refused("a mapping below its dash", "subnet: 192.168.33.0/24\nnodes:\n-\n{name: manager, role: manager, octet: 11}\n")
	// Psych's and Go's limits differ.
	refused("a key of 2,000 characters", strings.Repeat("a", 2000)+": 1\n"+small)
	refused("a quoted key of 2,000 characters", `"`+strings.Repeat("a, ", 666)+`": 1`+"\n"+small)
	refused("a key of many words", with("octet: 11", "octet: 11, "+strings.Repeat("a ", 1000)+": 1"))
	refused("thousands of brackets in brackets", "roles: "+strings.Repeat("[", 30000)+strings.Repeat("]", 30000)+"\n"+small)
	refused("thousands of braces that are left open", small+strings.Repeat("{", 60000)+"\n")
	refused("brackets in brackets over lines", "roles:\n"+strings.Repeat("  [\n", 9)+strings.Repeat("  ]\n", 9)+small)
	refused("thousands of dashes", "roles:\n"+strings.Repeat("- ", 30000)+"a\n"+small)
	refused("a list in a list", "roles:\n- - cache\n"+small)

	refused("nothing", "")
	refused("a comment", "# nothing\n")
	refused("a byte order mark alone", "\ufeff")
	refused("two byte order marks", "\ufeff\ufeff"+small)
	refused("UTF-16", "\xff\xfes\x00u\x00b\x00n\x00e\x00t\x00")
	refused("Latin-1 in a comment", "# gr\xf6\xdfer\n"+small)
	refused("two documents", small+"---\n"+small)
	refused("two documents, the second of which is a word", small+"---\nword\n")
	refused("the end of a document", small+"...\n")
	refused("content beside the mark", "--- {subnet: 192.168.33.0/24, nodes: [{name: manager, role: manager, octet: 11}]}\n")
	refused("a directive", "%YAML 1.1\n---\n"+small)
	refused("a word", "manager\n")
	refused("a list", "- "+small)
	refused("null", "null\n")
	refused("too large", small+strings.Repeat("#"+strings.Repeat(" ", 1023)+"\n", 64))

	refused("an octal number", octet("0100"))
	refused("an octal number of YAML 1.2", octet("0o14"))
	refused("a hexadecimal number", octet("0x64"))
	refused("a binary number", octet("0b1100"))
	refused("a number with underscores", octet("1_1"))
	refused("a number with a comma", octet("1,1"))
	refused("a number in base 60", octet("1:11"))
	refused("a number with a sign", octet("+11"))
	refused("a negative number", octet("-11"))
	refused("a number with a point", octet("11.0"))
	refused("a number with an exponent", octet("1e1"))
	refused("a quoted number", octet(`"11"`))
	refused("a number in single quotes", octet("'11'"))
	refused("a number with a leading zero", octet("011"))
	refused("a number that is none", octet(".nan"))
	refused("a number without end", octet(".inf"))
	refused("a very large number", octet("99999999999999999999"))
	refused("a date", octet("2001-01-01"))
	refused("yes for a number", octet("yes"))
	refused("nothing for a number", octet(""))
	refused("null for a count", with("count: 2", "count: null"))
	refused("nothing for a count", with("count: 2", "count: "))
	refused("a tilde for a count", with("count: 2", "count: ~"))
	refused("a count of zero", with("count: 2", "count: 0"))
	refused("a count of a hundred", with("count: 2", "count: 100"))
	refused("nothing for memory", with("memory: 768", "memory: "))
	refused("too little memory", with("memory: 768", "memory: 127"))
	refused("too much memory", with("memory: 768", "memory: 1048577"))
	refused("memory with a unit", with("memory: 768", "memory: 768MiB"))
	refused("no cpus", with("cpus: 2", "cpus: 0"))
	refused("too many cpus", with("cpus: 2", "cpus: 257"))
	refused("a list for a number", octet("[11]"))
	refused("a mapping for a number", octet("{a: 1}"))
	refused("the octet of the gateway", octet("1"))
	refused("the octet of the broadcast", octet("255"))
	refused("no octet", with("  octet: 11", ""))

	refused("a subnet without its length", subnet("192.168.33.0"))
	refused("a subnet with bits behind its length", subnet("192.168.33.7/24"))
	refused("a subnet with a leading zero", subnet("192.168.033.0/24"))
	refused("a length with a leading zero", subnet("192.168.33.0/024"))
	refused("a length of one digit with a zero", subnet("10.0.0.0/08"))
	refused("a length that is too long", subnet("192.168.33.0/33"))
	refused("an octet that is too large", subnet("192.168.256.0/24"))
	refused("three octets", subnet("192.168.33/24"))
	refused("a netmask", subnet("192.168.33.0/255.255.255.0"))
	refused("a public subnet", subnet("8.8.8.0/24"))
	refused("a subnet that is private in part", subnet("192.168.0.0/15"))
	refused("another subnet that is private in part", subnet("10.0.0.0/7"))
	refused("all of the internet", subnet("0.0.0.0/0"))
	refused("an IPv6 subnet", subnet(`"fd00::/64"`))
	refused("an IPv4 subnet in IPv6", subnet(`"::ffff:192.168.33.0/120"`))
	refused("docker0", subnet("172.17.0.0/16"))
	refused("docker0 and more", subnet("172.16.0.0/12"))
	refused("an overlay", subnet("10.0.0.0/24"))
	refused("more than all overlays", subnet("10.0.0.0/8"))
	refused("a subnet that is too small", subnet("192.168.33.0/25"))
	refused("a subnet of one address", subnet("192.168.33.0/32"))
	refused("no subnet", with("subnet: 192.168.33.0/24\n", ""))
	refused("nothing for a subnet", subnet(""))
	refused("a list for a subnet", subnet("[192.168.33.0/24]"))
	refused("a number for a subnet", subnet("24"))

	refused("the subnet twice", "subnet: 192.168.34.0/24\n"+small)
	refused("a key twice", with("octet: 11", "octet: 11, octet: 12"))
	refused("a key twice with the same value", with("octet: 11", "octet: 11, octet: 11"))
	refused("a key twice, once in quotes", with("octet: 11", `octet: 11, "octet": 11`))
	refused("an unknown field", "colour: red\n"+small)
	refused("an unknown field of a node", with("cpus: 2", "cpus: 2, colour: red"))
	refused("a field in capitals", with("octet: 11", "Octet: 11"))
	refused("a number for a key", with("cpus: 2", "cpus: 2, 1: 1"))
	refused("a list for a key", with("cpus: 2", "cpus: 2, [a]: 1"))
	refused("a key without a value", with("cpus: 2", "cpus: 2, count"))

	refused("nothing for a name", name(""))
	refused("an empty name", name(`""`))
	refused("null for a name", name("null"))
	refused("true for a name", name("true"))
	refused("a number for a name", name("12"))
	refused("a name with capitals", name("Manager"))
	refused("a name with an underscore", name("the_manager"))
	refused("a name with a blank", name("the manager"))
	refused("a name over two lines", name("man\n      ager"))
	refused("a name that begins with a digit", name("1manager"))
	refused("a name that ends with a dash", name("manager-"))
	refused("a name with a line break", name(`"manager\n"`))
	refused("a name of 33 characters", name(strings.Repeat("a", 33)))
	accepted("a name of 32 characters", name(strings.Repeat("a", 32)))
	refused("a name in escapes", name(`"\x6danager"`))
	refused("the same name twice", with("name: store,", "name: manager,"))
	refused("a name that a count makes", with("name: store,", "name: frontend02,"))
	refused("an octet that a count makes", with("octet: 250", "octet: 21"))
	refused("a count beyond the octets", with("octet: 20, count: 2", "octet: 200, count: 60"))
	refused("an unknown role", with("role: store,", "role: stores,"))
	refused("a list for a role", with("role: store,", "role: [store],"))
	refused("no role", with("role: store,", ""))
	refused("two managers", with("role: store,", "role: manager,"))
	refused("no manager", with("role: manager,", "role: worker,"))
	refused("two stores", with("role: frontend, octet: 20, count: 2", "role: store, octet: 20"))
	refused("two interlocks", with("role: frontend, octet: 20, count: 2", "role: interlock, octet: 20, count: 2"))
	refused("a word for roles", "roles: cache\n"+small)
	refused("nothing for roles", "roles:\n"+small)
	refused("a role that is built in", "roles: [store]\n"+small)
	refused("a role twice", "roles: [cache, cache]\n"+small)
	refused("a role with capitals", "roles: [Cache]\n"+small)
	refused("a number for a role", "roles: [12]\n"+small)
	refused("true for a role of one's own", "roles: [true]\n"+small)
	refused("nothing in roles", "roles: [ , ]\n"+small)
	refused("a mapping for roles", "roles: {a: b}\n"+small)

	refused("no nodes", "subnet: 192.168.33.0/24\n")
	refused("nothing for nodes", "subnet: 192.168.33.0/24\nnodes:\n")
	refused("an empty list of nodes", "subnet: 192.168.33.0/24\nnodes: []\n")
	refused("a mapping of nodes", "subnet: 192.168.33.0/24\nnodes:\n  manager: {role: manager, octet: 11}\n")
	refused("a word for a node", small+"  - worker\n")
	refused("nothing for a node", small+"  -\n")
	refused("a list for a node", small+"  - [worker, worker, 30]\n")

	refused("an anchor", with("octet: 11", "octet: &a 11"))
	refused("an alias", strings.NewReplacer("memory: 768", "memory: &a 768", "cpus: 2", "cpus: *a").Replace(small))
	refused("a merge key", "subnet: 192.168.33.0/24\nnodes:\n  - &m {name: manager, role: manager, octet: 11}\n  - {<<: *m, name: w, role: worker, octet: 12}\n")
	refused("a tag", octet("!!int 11"))
	refused("a tag for a word", name("!!str manager"))
	refused("a tag of one's own", name("!x manager"))
	refused("a block of text", "subnet: |\n  192.168.33.0/24\n"+strings.SplitAfterN(small, "\n", 2)[1])
	refused("folded text", "subnet: >-\n  192.168.33.0/24\n"+strings.SplitAfterN(small, "\n", 2)[1])
	refused("a complex key", "? subnet\n: 192.168.33.0/24\n"+strings.SplitAfterN(small, "\n", 2)[1])
	refused("a tab to indent", strings.Replace(small, "  - {name: store", "\t- {name: store", 1))
	refused("a tab between", with("octet: 11", "octet:\t11"))
	refused("a tab behind", with("192.168.33.0/24", "192.168.33.0/24\t"))
	refused("a comment without a blank", with("octet: 250", "octet: 250#"))
	refused("a line break of Unicode in a comment", "# a\u2028subnet: 10.1.0.0/16\n"+small)
	refused("another one", "# a\u0085subnet: 10.1.0.0/16\n"+small)
	refused("a line break of old", strings.ReplaceAll(small, "\n", "\r"))
	refused("a null character", small+"# \x00\n")
	refused("an escape character", small+"# \x1b[31m\n")
	refused("a character of C1", small+"# \u009b31m\n")
	refused("no-break spaces", with("octet: 11", "octet:\u00a011"))
	refused("quotes that do not end", name(`"manager`))
	refused("a list that does not end", strings.TrimSuffix(small, "}\n"))
	refused("a bracket too many", small+"]\n")
	refused("a key without a blank behind it", with("octet: 11", "octet:11"))
	refused("a key in quotes without a blank behind it", with("octet: 11", `"octet":11`))
	accepted("a colon in quotes in a comment", small+"# \"a:b\" c:d\n")
	refused("a comma first", with("{name: store", "{, name: store"))
	refused("a comma first in a line", "{subnet: 192.168.33.0/24, nodes: [{name: manager, role: manager, octet: 11 # ,\n  ,\n,]]}\n")
	accepted("a comma first in a line, behind something", "{subnet: 192.168.33.0/24\n, nodes: [{name: manager, role: manager, octet: 11}\n, ]}\n")
	refused("two commas", with("octet: 11", "octet: 11,,"))
	refused("no comma", with("manager,  role", "manager   role"))
	refused("a line too far to the left", strings.Replace(small, "  - {name: store", " - {name: store", 1))
	refused("a line too far to the right", strings.Replace(small, "  - {name: store", "   - {name: store", 1))
	return files
}

// fileCase is a row of the table.
type fileCase struct {
	name, text string
	accepted   bool
}

// rubyReads are a few lines of Ruby that print what vagrant/topology.rb makes of each folder, a line each.
const rubyReads = `require ARGV.shift
STDIN.each_line(chomp: true) do |folder|
  puts JSON.generate(Swarmlab::Lab.load(folder, {}, '/nowhere').to_h)
rescue Swarmlab::Error => e
  puts JSON.generate('mistake' => e.message)
end`

// reading is what Go and Ruby make of one file.
type reading struct {
	lab     *settings.Lab
	err     error
	ruby    rubyLab
	mistake string
}

// agree tells how the two differ; empty: they do not.
func (r reading) agree() string {
	switch {
	case (r.err == nil) != (r.mistake == ""):
		return fmt.Sprintf("one takes it and one does not\nGo: %v\nRuby: %q", r.err, r.mistake)
	case r.err != nil:
		if !strings.Contains(r.err.Error(), "topology.yaml") || !strings.Contains(r.mistake, "topology.yaml") {
			return fmt.Sprintf("the file is not named\nGo: %v\nRuby: %q", r.err, r.mistake)
		}
		return ""
	}
	want := asRuby(r.lab)
	want.Provider = r.ruby.Provider // which Vagrant chooses where nobody says
	return cmp.Diff(want, r.ruby)
}

// readBoth has Go and Ruby read topology files, Ruby in a locale.
func readBoth(t *testing.T, locale string, texts []string) []reading {
	t.Helper()
	ruby, err := exec.LookPath("ruby")
	if err != nil {
		t.Skip("no ruby here")
	}
	repo, err := settings.FindDir(".")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	folders := make([]string, len(texts))
	for i, text := range texts {
		folders[i] = filepath.Join(dir, strconv.Itoa(i))
		if err := os.MkdirAll(filepath.Join(folders[i], "vagrant"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folders[i], "vagrant", "topology.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), ruby, "-e", rubyReads, filepath.Join(repo, "vagrant", "topology.rb"))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=" + locale}
	cmd.Stdin = strings.NewReader(strings.Join(folders, "\n") + "\n")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	if err != nil || len(lines) != len(texts) {
		t.Fatalf("%v: %d lines for %d files\n%s", err, len(lines), len(texts), &stderr)
	}
	all := make([]reading, len(texts))
	for i := range texts {
		var read struct {
			rubyLab
			Mistake string `json:"mistake"`
		}
		if err := json.Unmarshal(lines[i], &read); err != nil {
			t.Fatalf("%v in %s", err, lines[i])
		}
		lab, err := settings.OpenOn(folders[i], env(), "/nowhere")
		all[i] = reading{lab, err, read.rubyLab, read.Mistake}
	}
	return all
}

// TestFilesInRuby: Go and Ruby take the same files for the same lab, and refuse the same, each with a message that names the file.
func TestFilesInRuby(t *testing.T) {
	t.Parallel()
	files := topologyFiles(t)
	texts, seen := make([]string, len(files)), map[string]bool{}
	for i, f := range files {
		texts[i] = f.text
		if seen[f.name] {
			t.Errorf("two files are called %q", f.name)
		}
		seen[f.name] = true
	}
	// A locale without UTF-8 changes nothing.
	for _, locale := range []string{"C", "C.UTF-8"} {
		for i, r := range readBoth(t, locale, texts) {
			if diff := r.agree(); diff != "" {
				t.Errorf("%s: %s", files[i].name, diff)
			}
			if (r.err == nil) != files[i].accepted {
				t.Errorf("%s: accepted is to be %t: %v", files[i].name, files[i].accepted, r.err)
			}
		}
	}
}

// mutants are how many files TestMutatedFilesInRuby makes.
const mutants = 400

// pieces are what mutations put into a file: what YAML has signs for, and what its versions disagree on.
var pieces = []string{
	"\n", "\n  ", "\n  - ", "  ", " ", ",", ", ", ":", ": ", "{", "}", "[", "]", "- ", "-", "#", " #", `"`, "'", "---\n", "\n---\n", "...\n", "0", "01", "1", "11",
	"true", "null", "yes", "~", "name: ", "role: ", "octet: ", "count: ", "nodes: ", "subnet: ", "roles: ", "[a]", "{}", "{a: b}", "worker", "store", "\t", "&a ", "*a", "<<: ",
	"!x ", "? ", "| ", "\r\n", "\r", "\u00a0", "\ufeff", ".", "/", "\\", "x",
}

// mutate changes a file in a few places.
func mutate(r *rand.Rand, text string) string {
	for range 1 + r.IntN(5) {
		at := r.IntN(len(text) + 1)
		end := min(at+r.IntN(6), len(text))
		switch r.IntN(4) {
		case 0: // take away
			text = text[:at] + text[end:]
		case 1: // put in place
			text = text[:at] + pieces[r.IntN(len(pieces))] + text[end:]
		case 2: // say twice
			text = text[:end] + text[at:]
		default: // put in
			text = text[:at] + pieces[r.IntN(len(pieces))] + text[at:]
		}
	}
	return text
}

// TestMutatedFilesInRuby: also of files that nobody thought of, Go and Ruby think the same.
func TestMutatedFilesInRuby(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	var originals, texts []string
	for _, f := range topologyFiles(t) {
		if f.accepted {
			originals = append(originals, f.text)
		}
	}
	for range mutants {
		texts = append(texts, mutate(r, originals[r.IntN(len(originals))]))
	}
	for i, read := range readBoth(t, "C.UTF-8", texts) {
		if diff := read.agree(); diff != "" {
			t.Errorf("seed %d: %s\n%q", seed, diff, texts[i])
		}
	}
}
