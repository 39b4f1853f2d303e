# SPDX-License-Identifier: BSD-3-Clause
# Real clients against one daemon, as rows of t/clients/MATRIX.md. Each program of t/clients is called
#   PROGRAM CLIENT HALF PORT SOCKET
# and prints lines "feature<tab>result": ok, - (the client does not have it), or what went wrong. Three halves:
#   store    stores, reads and counts; leaves behind: k = v, 500 values, n = 8, gone deleted, 700,000 bytes, later (100 s to
#            live), t (touched, so that it outlives later)
#   read     after kill -9 and a start: all of that is there ("kill -9")
#   expired  after 200 more seconds, another kill -9 and a start: later is gone, the rest is there ("expiry")
package Hearth::Matrix;
use strict;
use warnings;
use Exporter qw(import);
use Hearth::Daemon;
use Hearth::Process qw(run scratch_dir slurp spew);
use Test::More ();
our @EXPORT_OK = qw(clients heavy_clients test_clients);

our @features = ('set', 'add', 'replace', 'many', 'count', 'append', 'cas', 'touch', 'delete', 'big', 'kill -9', 'expiry');
my $dir = 't/clients';

# name => [protocol, command]
sub clients
{
	my @python = ('/usr/bin/python3', "$dir/python.py");
	return (
		'pymemcache' => ['text', @python],
		'pylibmc, text' => ['text', @python],
		'pylibmc, binary' => ['binary', @python],
		'pylibmc, UNIX socket' => ['text', @python],
		'python-memcache' => ['text', @python],
		'python-binary-memcached' => ['binary', @python],
		'Cache::Memcached::Fast' => ['text', 'perl', "$dir/perl.pl"],
		'Dalli 3.0' => ['binary', 'ruby', "$dir/ruby.rb"],
		'php-memcached, text' => ['text', 'php', "$dir/php.php"],
		'php-memcached, binary' => ['binary', 'php', "$dir/php.php"],
		'php-memcached, sessions' => ['binary', 'php', "$dir/php.php"],
		'php-memcache' => ['text', 'php', "$dir/php.php"],
	);
}

# Those whose packages are large: built or installed first, below a directory of the test's own.
sub heavy_clients
{
	my $scratch = scratch_dir();
	my @python = ('/usr/bin/python3', "$dir/python.py");
	my @node = ('env', "NODE_PATH=$scratch/npm/node_modules", 'node', "$dir/node.cjs");
	my $jars = '/usr/share/java/spymemcached.jar';
	made('npm', "mkdir $scratch/npm && cd $scratch/npm && npm install --silent --no-audit --no-fund memcached\@2 memjs\@1 memcache\@1");
	made('go', "cp $dir/go.go $scratch/main.go && GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE=$scratch/gocache go build -o $scratch/go $scratch/main.go");
	made('java', "javac -cp $jars -d $scratch $dir/Java.java");
	my @java = ('java', '-cp', "$scratch:$jars", 'Java');
	return (
		'Django, pymemcache' => ['text', @python],
		'Django, pylibmc' => ['text', @python],
		'Django, python-memcache' => ['text', @python],
		'gomemcache' => ['text', "$scratch/go"],
		'spymemcached, text' => ['text', @java],
		'spymemcached, binary' => ['binary', @java],
		'npm memcached' => ['text', @node],
		'npm memjs' => ['binary', @node],
		'npm memcache' => ['text', @node],
		'nginx memcached_pass' => ['text', 'perl', "$dir/nginx.pl"],
	);
}

sub made
{
	my ($what, $command) = @_;
	my ($code, $out, $err) = run(['sh', '-c', $command], seconds => 300);
	die "$what: $out$err" if $code;
	return;
}

# Runs one half of all on one daemon: {name}{feature} = result, into $rows.
sub run_half
{
	my ($rows, $half, $daemon, %clients) = @_;
	my %at = $daemon->address;
	for my $name (sort keys %clients) {
		my (undef, @command) = @{ $clients{$name} };
		my ($code, $out, $err) = run([@command, $name, $half, $at{port} // 0, $at{unix} // '']);
		my $n = 0;
		$rows->{$name}{$1} = $2, $n++ while $out =~ /^([^\t\n]+)\t(.*)$/mg;
		my $feature = $half eq 'store' ? 'set' : $half eq 'read' ? 'kill -9' : 'expiry';
		$rows->{$name}{$feature} = "ended with $code: $out$err" =~ s/\s+/ /gr if $code || !$n;
	}
	return;
}

# Runs them all, those for a UNIX socket against a daemon of their own.
sub rows_of
{
	my (%clients) = @_;
	my %rows;
	for my $unix (0, 1) {
		my %some = map { $_ => $clients{$_} } grep { /UNIX socket/ ? $unix : !$unix } keys %clients;
		next unless %some;
		my $daemon = Hearth::Daemon->start(args => ['-m', 256], $unix ? (unix => scratch_dir() . '/socket') : ());
		run_half(\%rows, 'store', $daemon, %some);
		$daemon->crash;
		run_half(\%rows, 'read', $daemon, %some);
		$daemon->jump(200);
		$daemon->crash;
		run_half(\%rows, 'expired', $daemon, %some);
		$daemon->stop;
		$daemon->report;
	}
	return \%rows;
}

# The lines of a table; results that are not ok are shown as "no".
sub table
{
	my ($rows, %clients) = @_;
	my @lines = (row('client', 'protocol', @features), row(map { '---' } 1 .. @features + 2));
	for my $name (sort { lc $a cmp lc $b } keys %clients) {
		my @cells = map { my $r = $rows->{$name}{$_} // '-'; $r eq 'ok' ? 'yes' : $r eq '-' ? '-' : 'no' } @features;
		push @lines, row($name, $clients{$name}[0], @cells);
	}
	return @lines;
}
sub row { return '| ' . join(' | ', @_) . ' |'; }

# The rows of that file, by name.
sub table_of_file
{
	my ($file) = @_;
	return map { /^\| ([^|]+?) \|/ ? ($1 => $_) : () } split /\n/, slurp($file);
}

sub page
{
	my (@lines) = @_;
	return join("\n", '# Clients', '',
		'What each client does against hearthd, made by `HEARTH_LONG=1 HEARTH_MATRIX=write prove t/5044-heavy-clients.t`, which runs them all;',
		'`make check` runs the lighter ones and compares, `make check-long` all. "-": the client does not have it, or the test has no use for it.',
		'kill -9: what was stored is read after a kill and a start. expiry: what expired meanwhile is gone, the rest is there.',
		'', @lines, '');
}
# Runs them and demands that each does all that it has, and that the page says so; $write: makes the page first.
sub test_clients
{
	my ($write, %clients) = @_;
	my $page = "$dir/MATRIX.md";
	my $rows = rows_of(%clients);
	for my $name (sort keys %clients) {
		for my $feature (@features) {
			my $result = $rows->{$name}{$feature} // next;
			Test::More::ok($result eq 'ok' || $result eq '-', "$name: $feature") or Test::More::diag($result);
		}
	}
	my @lines = table($rows, %clients);
	spew($page, page(@lines)) if $write;
	my %committed = table_of_file($page);
	for my $line (@lines) {
		my ($name) = $line =~ /^\| ([^|]+?) \|/;
		Test::More::is($line, $committed{$name}, "$name: as $page says") if $clients{$name};
	}
	return;
}

1;
