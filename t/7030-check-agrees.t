#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# What hearth check says of a damaged directory is what a daemon does with it: whether something is torn or damaged, and
# which items are left, which those of the repaired copy are, too. Many places of every file, drawn at random.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Files qw(blocks copy_dir cut flip newest);
use Hearth::Process qw(long_run program run sanitizer scratch_dir slurp spew tree_digest);
use JSON::PP;
use Test::More;

my $seed = $ENV{HEARTH_SEED} // (time ^ $$ << 8) & 0x7fffffff;
srand $seed;
note "seed $seed";
my @still = ('--snapshot-interval', 0, '--snapshot-log-ratio', 0, '-m', 16);
my @keys = map { "k$_" } 1 .. 40;
my $cases = $ENV{HEARTH_CASES} // (long_run() ? 1500 : sanitizer() ? 15 : 50);

sub hearth { my (@args) = @_; return run([program('hearth'), @args]); }

sub play
{
	my ($daemon, $rounds) = @_;
	my $c = $daemon->client;
	for my $n (1 .. $rounds) {
		my $key = $keys[rand @keys];
		my $kind = rand;
		if ($kind < 0.6) {
			$c->set($key, "$n:" . 'v' x rand 300);
		} elsif ($kind < 0.8) {
			my $batch = join '', map { my $v = "$n:$_"; "set $_ 0 0 " . length($v) . " noreply\r\n$v\r\n" } @keys[0 .. 7];
			$c->ask($batch . "version\r\n");
		} else {
			$c->ask("delete $key\r\n");
		}
	}
	return;
}

# Starts a daemon: exit code of a refusal, or what it says of its recovery and what it serves.
sub start
{
	my ($dir) = @_;
	my $daemon = eval { Hearth::Daemon->start(dir => $dir, args => [@still]) };
	if (!$daemon) {
		my ($code) = $@ =~ / ended with (\d+): /;
		return { code => $code // "none: $@" };
	}
	my $c = $daemon->client;
	my $items = $c->items("get @keys");
	my $stats = $c->stats('persist');
	my $messages = $daemon->errors;
	$daemon->kill9;
	return { damaged => $stats->{recovery_damaged}, left_out => $stats->{recovery_left_out_bytes}, messages => $messages,
		items => { map { $_ => $items->{$_}{value} } keys %$items } };
}

# ---- directories to be damaged ----
sub directory
{
	my ($ending, @rounds) = @_;
	my $daemon = Hearth::Daemon->start(args => [@still, '--keep', 2]);
	for my $i (0 .. $#rounds) {
		hearth('snapshot', $daemon->dir) if $i;
		play($daemon, $rounds[$i]);
		$daemon->crash if $i == 1;
	}
	$ending eq 'stop' ? $daemon->stop : $daemon->kill9;
	return $daemon->dir;
}

my @directories = (directory('kill', 60), directory('stop', 30), directory('kill', 30, 40, 30), directory('stop', 30, 30, 0));

# One bit, some zeros, a piece that was cut off at the end, some noise put behind it, a file that is missing.
sub damage
{
	my ($file) = @_;
	my $size = -s $file || 0;
	my $at = int rand $size;
	my $kind = $size ? int rand 12 : 11;
	return "nothing in an empty $file" unless $size;
	# A log that ends behind a whole block cannot be told from one to which no more was ever written.
	$at++ if $at < $size - 1 && $kind >= 6 && $kind < 10 && $file =~ /log-\d+$/ && grep { $_->[0] == $at || $_->[1] == $at } blocks(slurp($file));
	if ($kind < 6) {
		flip($file, $at, int rand 8);
		return "bit at $at of $file";
	} elsif ($kind < 8) {
		my $bytes = slurp($file);
		my $len = 1 + int rand 400;
		$len = $size - $at if $at + $len > $size;
		substr $bytes, $at, $len, "\0" x $len;
		spew($file, $bytes);
		return "$len zeros at $at of $file";
	} elsif ($kind < 10) {
		cut($file, $at);
		return "$file cut at $at";
	} elsif ($kind < 11) {
		spew($file, slurp($file) . join '', map { chr int rand 256 } 1 .. 1 + rand 300);
		return "noise behind $file";
	}
	unlink $file;
	return "$file is missing";
}

# What a start finds when the logs alone are as they are here: a log that lost its end makes an earlier state the true one.
sub truth_of_logs
{
	my ($from, $logs) = @_;
	my $dir = copy_dir($from);
	unlink glob "$dir/log-*";
	spew("$dir/$_", $logs->{$_}) for keys %$logs;
	my $items = start($dir)->{items} // {};
	run(['rm', '-rf', $dir]);
	return $items;
}

my %truth = map { $_ => start(copy_dir($_))->{items} } @directories;
my (@wrong, %seen);

# What the tool says of a damaged directory, which is no more after that, is what a start does.
sub agree
{
	my ($from, $dir, $what, $places) = @_;
	$what =~ s/\Q$dir\E\///g;
	my $before = tree_digest($dir);
	my ($check, $said, $check_err) = hearth('check', '--json', $dir);
	my $repaired = scratch_dir() . '/new';
	my ($code, $out, $err) = hearth('check', '--repair', $dir, '--to', $repaired);
	push @wrong, "$what: the tool changed the directory" if tree_digest($dir) ne $before;
	my %logs = map { m{(log-\d+)$} ? ($1 => slurp($_)) : () } grep { -f } glob "$dir/log-*";
	my $anything = grep { -s } glob("$dir/log-*"), glob("$dir/snapshot-*");
	my $found = start($dir);
	my $start = defined $found->{code} ? 'refused' : $found->{damaged} > 0 ? 2 : $found->{left_out} > 0 ? 1 : 0;
	my $told = $check >= 64 ? 'refused' : $check;
	$seen{$start}++;
	my $details = "check $check, a start $start\n    $said    $check_err    " . ($found->{messages} // '');
	# What a start stumbles over check has named; it looks at more than a start reads.
	push @wrong, "$what: $details" if $told ne $start && ($told eq 'refused' || $start eq 'refused' || $told < $start || ($start == 1 && $places == 1));
	my ($sum) = map { decode_json($_) } grep { /^\{"directory"/ } split /\n/, $said;
	if ($start ne 'refused') {
		my $whole = !grep { ($found->{items}{$_} // '') ne ($truth{$from}{$_} // '') } keys %{ $found->{items} }, keys %{ $truth{$from} };
		# Where no file is left that holds anything nobody can tell that there were some.
		push @wrong, "$what: said to lose nothing: $details" if $sum->{start_loses} eq 'nothing' && !$whole && $anything;
		push @wrong, "$what: said to lose a tail: $details" if $sum->{start_loses} eq 'tail' && !$found->{left_out};
		my $copy = $code == 65 && $err =~ /holds nothing that can be restored/ ? { items => {} } : $code != $check ? { items => {}, error => "repair $code: $err" } : start($repaired);
		my @differ = grep { ($copy->{items}{$_} // '') ne $found->{items}{$_} } keys %{ $found->{items} };
		# An older snapshot that is whole gives the copy more than a damaged one gives a start, and nothing else does.
		my @more = grep { !defined $found->{items}{$_} } keys %{ $copy->{items} };
		my @stale = grep { $copy->{items}{$_} ne ($truth{$from}{$_} // '') } @more;
		if (@stale) {
			my $earlier = truth_of_logs($from, \%logs);
			@stale = grep { $copy->{items}{$_} ne ($earlier->{$_} // '') } @stale;
		}
		push @wrong, "$what: the copy has @differ otherwise, @more more, @stale stale\n    $err    $found->{messages}" if $copy->{error} || @differ || @stale;
	}
	run(['rm', '-rf', $dir, $repaired]);
	return;
}

for my $n (1 .. $cases) {
	my $from = $directories[rand @directories];
	my $dir = copy_dir($from);
	my @files = sort grep { -f } glob "$dir/*";
	my $places = rand() < 0.8 ? 1 : 2;
	agree($from, $dir, "$n: " . join(', ', map { damage($files[rand @files]) } 1 .. $places), $places);
	last if @wrong > ($ENV{HEARTH_WRONG} // 5);
}
is(join("\n", splice @wrong), '', "$cases cases, seed $seed: " . join ', ', map { "$_: $seen{$_}" } sort keys %seen);

# ---- what they disagreed on once ----
{
	# The last segments: one that begins with the daemon's last start, and the one before it.
	my %break = (
		'a last segment that is all zeros' => sub { my ($dir, @logs) = @_; spew($logs[-1], "\0" x -s $logs[-1]); return 1; },
		'two headers that are cut off' => sub { my ($dir, @logs) = @_; cut($_, 100) for @logs[-2, -1]; return 2; },
		'a segment is missing, the next has no header' => sub { my ($dir, @logs) = @_; unlink $logs[-2]; flip($logs[-1], 29, 1); return 2; },
		'a header is cut off, the next one bad' => sub { my ($dir, @logs) = @_; cut($logs[-2], 100); flip($logs[-1], 29, 1); return 2; },
		'no manifest, and a last segment without header' => sub { my ($dir, @logs) = @_; unlink "$dir/MANIFEST"; flip($logs[-1], 63, 1); return 2; },
	);
	# The only segment: without its header nothing says that this boot wrote it.
	my %break_one = (
		'all zeros' => sub { my ($dir, $log) = @_; spew($log, "\0" x -s $log); return 1; },
		'zeros for a header' => sub { my ($dir, $log) = @_; my $bytes = slurp($log); substr $bytes, 0, 256, "\0" x 256; spew($log, $bytes); return 1; },
		'a block from earlier behind the end' => sub {
			my ($dir, $log) = @_;
			my $bytes = slurp($log);
			my ($begin, $end) = @{ (blocks($bytes))[3] };
			spew($log, substr($bytes, 0, (blocks($bytes))[-1][1]) . substr $bytes, $begin, $end - $begin);
			return 1;
		},
	);
	for my $case ([\%break, @directories[2, 3]], [\%break_one, @directories[0, 1]]) {
		my ($break, @from) = @$case;
		for my $from (@from) {
			for my $what (sort keys %$break) {
				my $dir = copy_dir($from);
				my $places = $break->{$what}->($dir, sort grep { -s } glob "$dir/log-*");
				agree($from, $dir, $what, $places);
				is(join("\n", splice @wrong), '', $what);
			}
		}
	}
}

# ---- two bad ones in a row, which a snapshot covers ----
{
	my $two = copy_dir($directories[2]);
	my @logs = sort grep { -s } glob "$two/log-*";
	note "@logs";
	cmp_ok(scalar @logs, '>=', 3, 'an old segment, one that a start began, one that is written');
	unlink $logs[0];
	flip($logs[1], 100, 3);
	my ($check, $said) = hearth('check', '--json', $two);
	my ($sum) = map { decode_json($_) } grep { /^\{"directory"/ } split /\n/, $said;
	is($check, 2, 'check names the damage');
	is($sum->{start_loses}, 'nothing', 'and that nothing is lost by it');
	is_deeply(start($two)->{items}, $truth{ $directories[2] }, 'nor is it');
}

# ---- repair ----
my $dir = copy_dir($directories[2]);
my $log = newest($dir, 'log') =~ s{.*/}{}r;
my @blocks = grep { $_->[2] } blocks(slurp("$dir/$log"));
flip("$dir/$log", $blocks[6][0] + 65, 1);
my $number = unpack 'Q<', substr slurp("$dir/$log"), $blocks[6][0] + 16, 8;
my ($code, $out, $err) = hearth('check', $dir);
is($code, 2, 'check of a damaged log');
like($out, qr{^a start: \Q$dir/$log\E at offset $blocks[6][0], @{[$blocks[6][1] - $blocks[6][0]]} bytes: block checksum does not match: changes $number to }m, 'says which place costs which changes');
my $before = tree_digest($dir);
($code, $out, $err) = hearth('check', '--repair', $dir);
is($code, 2, 'check --repair') or diag $err;
ok(-e "$dir.repaired/MANIFEST", 'writes a copy beside');
is(tree_digest($dir), $before, 'and leaves the original as it was');
is((hearth('check', "$dir.repaired"))[0], 0, 'the copy is clean');
my $copy = start("$dir.repaired");
is_deeply($copy->{items}, start($dir)->{items}, 'and holds what a start finds');
is($copy->{damaged} + $copy->{left_out}, 0, 'of which a start on it leaves nothing out');
$before = tree_digest("$dir.repaired");
is((hearth('check', '--repair', $dir))[0], 73, 'a second time the target is there');
is(tree_digest("$dir.repaired"), $before, 'and stays as it is');
for (['--to', 'x', $dir], ['--repair', $dir, $dir], ['--repair', "$dir/MANIFEST"]) {
	is((hearth('check', @$_))[0], 64, "usage: check @$_");
}
SKIP: {
	skip 'only root mounts', 4 unless $> == 0 && (run(['unshare', '-m', 'true']))[0] == 0;
	my $mnt = scratch_dir();
	$before = tree_digest($dir);
	my $hearth = program('hearth');
	($code, $out, $err) = run(['sh', '-c', "exec unshare -m sh -c 'mount -t tmpfs -o size=8k none $mnt && $hearth check --repair $dir --to $mnt/b >/dev/null; code=\$?; ls -A $mnt; exit \$code'"]);
	is($code, 74, 'a full disk') or diag $err;
	like($err, qr/No space/, 'is told');
	is($out, '', 'and nothing is left of the copy');
	is(tree_digest($dir), $before, 'the original stays as it was');
}

# ---- one change is lost, and its key ----
{
	my $daemon = Hearth::Daemon->start(args => [@still]);
	$daemon->client->set("s$_", "value $_") for 1 .. 20;
	$daemon->stop; # its seal tells of all of them
	my $damaged = copy_dir($daemon->dir);
	my $file = newest($damaged, 'log');
	flip($file, (grep { $_->[2] } blocks(slurp($file)))[10][0] + 70, 3);
	($code, $out, $err) = hearth('check', '--repair', $damaged);
	is($code, 2, 'a block of a sealed log is bad');
	like($err, qr/: changes 11 to 11 are lost, and 1 key that they changed$/m, 'which costs a key');
	my $whole = Hearth::Daemon->start(dir => "$damaged.repaired", args => [@still]);
	my $found = $whole->client->items(join ' ', 'get', map { "s$_" } 1 .. 20);
	is(join(' ', map { $found->{"s$_"}{value} // "none of $_" } 1 .. 20), join(' ', map { $_ == 11 ? 'none of 11' : "value $_" } 1 .. 20), 'all others are there');
	$whole->stop;
}
cmp_ok($seen{2} // 0, '>', $cases / 10, 'damage was among them');
done_testing();
