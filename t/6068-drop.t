#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# hearth drop: what was there with the prefix goes and does not come back: not by a kill in the middle or behind it, not by an
# older snapshot, not from what was evicted. What is set meanwhile stays, what is only changed meanwhile does not. --purge leaves
# nothing of it in the files. Prefixes that are hostile, or begin alike.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Client;
use Hearth::Daemon;
use Hearth::Numbered qw(fill present);
use Hearth::Process qw(program run sanitizer scratch_dir slurp spawn reap tree_digest wait_until);
use Hearth::Screen;
use JSON::PP;
use Test::More;
use Time::HiRes qw(time);

my $seed = $ENV{HEARTH_SEED} // (time ^ $$ << 8) & 0x7fffffff;
srand $seed;
diag "seed $seed";
my @quiet = ('--snapshot-interval', 0, '--snapshot-log-ratio', 0);
sub hearth { return run([program('hearth'), @_]); }
sub drop { my ($daemon, $prefix, @more) = @_; return hearth('drop', '--prefix', $prefix, @more, $daemon->dir); }
sub dropped { my ($code, $out, $err) = drop(@_, '--json'); is($code, 0, "drop @_[1 .. $#_]") or diag $err; return eval { decode_json($out) } // {}; }

my ($user, $users, $other) = (sub { "user:$_[0]" }, sub { "users:$_[0]" }, sub { "x:user:$_[0]" });
my $value = sub { "value of $_[0]" };

# ---- what goes, what stays, and what does not come back ----
for my $policy (qw(always everysec os)) {
	my $daemon = Hearth::Daemon->start(args => [@quiet, '--fsync', $policy]);
	fill($daemon, 2000, $_, $value) for $user, $users, $other;
	my $c = $daemon->client;
	$c->set('user:', 'the shortest');
	$c->set('user', 'shorter than the prefix');
	hearth('snapshot', $daemon->dir);
	my $before = present($daemon, 2000, $user, $value);
	my $dry = dropped($daemon, 'user:', '--dry-run');
	is($dry->{items}, 2001, "--fsync $policy: --dry-run counts");
	ok(!$dry->{deleted}, 'and says that nothing is deleted');
	is(present($daemon, 2000, $user, $value), $before, 'nothing is');
	my $told = dropped($daemon, 'user:');
	is($told->{items}, 2001, 'all of them');
	is($told->{bytes}, $dry->{bytes}, 'bytes are those counted before');
	ok($told->{deleted} && !$told->{purged} && !defined $told->{snapshot}, 'no snapshot was needed');
	my $stats = $daemon->client->stats('persist');
	is($stats->{durable_seq}, $stats->{last_seq}, 'all is durable when it returns');
	$daemon->crash;
	is(present($daemon, 2000, $user, $value), 0, 'killed: from a snapshot that has them and the log: none comes back');
	is(present($daemon, 2000, $_, $value), 2000, 'those of another prefix stay') for $users, $other;
	$c = $daemon->client;
	is($c->get('user:'), undef, 'a key that is the prefix goes');
	is($c->get('user'), 'shorter than the prefix', 'a key that is shorter stays');
	is(dropped($daemon, 'user:')->{items}, 0, 'again: none');
	my ($code, $out, $err) = drop($daemon, 'users:1');
	is($code, 0, 'as text');
	is($out, "users:1: 1111 items, " . (length(join '', map { ($users->($_), $value->($_)) } grep { /^1/ } 0 .. 1999)) . " bytes deleted\n", 'what is printed');
	is($daemon->stop, 0, 'stopped in order');
	my $copy = scratch_dir() . '/restored';
	($code, $out, $err) = hearth('restore', $daemon->dir, '--to', $copy);
	is($code, 0, 'restored') or diag $err;
	my $restored = Hearth::Daemon->start(dir => $copy, args => \@quiet);
	is(present($restored, 2000, $user, $value), 0, 'nor by a restore of a later moment');
	is(present($restored, 2000, $users, $value), 889, 'the others are there');
}

# ---- hostile prefixes ----
{
	my $daemon = Hearth::Daemon->start(args => \@quiet);
	my $c = $daemon->client;
	my $base64 = sub { require MIME::Base64; return MIME::Base64::encode_base64($_[0], ''); };
	my %raw = (nul => "\0\0a", high => "\xff\xfe\0z", newline => "a\nb", space => "a b");
	$c->ask('ms ' . $base64->($raw{$_}) . " 1 b\r\nv\r\n") for sort keys %raw;
	$c->set('a\\x0ab', 'text');
	my $long = 'k' x 250;
	$c->set($long, 1);
	$c->set('k' x 249, 1);
	$c->set('%s%n', 1);
	is(dropped($daemon, '\\x00')->{items}, 1, 'a NUL');
	my $j = dropped($daemon, '\\xff\\xfe\\x00');
	is($j->{items}, 1, 'bytes that are no text');
	is($j->{prefix_b64}, '//4A', 'which JSON has as base64');
	is(dropped($daemon, 'a\\x0a')->{items}, 1, 'a newline, which ends no line of the admin socket');
	is(dropped($daemon, 'a b')->{items}, 1, 'a space');
	is(dropped($daemon, '%s')->{items}, 1, 'a format');
	is($c->get('a\\x0ab'), 'text', 'a key that looks like an escape stays');
	is(dropped($daemon, '\\x5cx0a')->{items}, 0, 'and has another beginning');
	is(dropped($daemon, $long)->{items}, 1, 'the longest key there is');
	is($c->get('k' x 249), 1, 'one that is shorter by a byte stays');
	my $before = tree_digest($daemon->dir);
	for (['', qr/empty prefix/], ['k' x 251, qr/251 bytes/]) {
		my ($code, $out, $err) = drop($daemon, $_->[0]);
		is($code, 64, 'refused: ' . length $_->[0]);
		like($err, $_->[1], 'says why');
	}
	my ($code, $out, $err) = hearth('drop', $daemon->dir);
	is($code, 64, 'without --prefix');
	like($err, qr/--prefix is missing/, 'says so');
	($code, $out, $err) = drop($daemon, 'k', '--purge', '--dry-run');
	is($code, 64, '--purge --dry-run');
	is(tree_digest($daemon->dir), $before, 'nothing has changed');

	# Straight at the socket.
	for ('drop ', 'drop zz', 'drop 616', 'drop 61 purges', 'drop 61 dry purge', 'drop ' . '61' x 251) {
		my $admin = Hearth::Client->new(unix => $daemon->dir . '/admin.sock');
		$admin->put("$_\n");
		$admin->fill;
		like(delete $admin->{input}, qr/^ERROR (?:not a prefix|unknown command)/, substr $_, 0, 20);
	}
	is($c->get('k' x 249), 1, 'still there');
	is($daemon->kill9, 137, 'killed');
	($code, $out, $err) = drop($daemon, 'k', '--dry-run');
	is("$code$out", '0' . "k: 1 item, 250 bytes would be deleted\n", 'without a daemon');
	$daemon->up;
	is($daemon->client->get('k' x 249), 1, 'that changes nothing');
}

# ---- sets go on, and so do changes of what was there ----
{
	my $daemon = Hearth::Daemon->start(args => [@quiet, '-t', 4]);
	my $n = 60000;
	fill($daemon, $n, sub { "s:$_[0]" }, sub { $_[0] % 2 ? 'old' : 1000000 + $_[0] });
	my @pids;
	my $dir = scratch_dir();
	for my $w (0 .. 2) {
		my $pid = fork // die "fork: $!";
		push @pids, $pid;
		next if $pid;
		srand $seed + $w;
		my $c = $daemon->client;
		my $new = 0;
		# Until it is killed; what it has set is written down first by one that knows it was told STORED.
		open my $log, '>', "$dir/$w" or die;
		$log->autoflush(1);
		while (1) {
			my $k = int rand $n;
			my $d = $k % 2 ? $c->ask("append s:$k 0 0 4\r\n+old\r\n") : $c->ask("incr s:$k 1\r\n");
			$c->ask("md s:" . ($k ^ 4) . " I T60\r\n") if $k % 8 == 1;
			if ($c->set("s:new:$w:$new", "new $new") eq 'STORED') { print {$log} "$new\n"; $new++; }
		}
	}
	wait_until('writers to be at work', sub { 3 == grep { -s "$dir/$_" } 0 .. 2 });
	my $admin = Hearth::Client->new(unix => $daemon->dir . '/admin.sock');
	# What is told STORED from here on was set when the drop had not begun, or when it had: the first are read again below.
	my $told = dropped($daemon, 's:');
	cmp_ok($told->{items}, '>=', $n - 1, 'all that was there') or diag explain $told;
	my @at = map { (split /\n/, slurp("$dir/$_"))[-1] } 0 .. 2;
	select undef, undef, undef, 0.2;
	kill 'KILL', @pids;
	waitpid $_, 0 for @pids;
	for my $round ('at once', 'after a kill') {
		my $c = $daemon->client;
		my (@old, %seen);
		for (my $i = 0; $i < $n; $i += 100) {
			my $items = $c->items('get ' . join ' ', map { "s:$_" } $i .. $i + 99);
			push @old, map { "$_=$items->{$_}{value}" } sort keys %$items;
		}
		is("@old[0 .. ($#old < 3 ? $#old : 3)]", '', "$round: nothing is left of what was there, however it was changed") if @old;
		is(scalar @old, 0, "$round: nothing old is left");
		for my $w (0 .. 2) {
			my $last = (split /\n/, slurp("$dir/$w"))[-1];
			my @gone = grep { ($c->get("s:new:$w:$_") // '') ne "new $_" } $at[$w] + 1 .. $last;
			is("@gone", '', "$round: writer $w: what was set behind the drop is there");
			# Those set while it ran are there from some number on: from where it began.
			my @missing = grep { !defined $c->get("s:new:$w:$_") } 0 .. $at[$w];
			is_deeply(\@missing, [0 .. $#missing], "$round: writer $w: what goes is what was set before it began");
		}
		$daemon->crash if $round eq 'at once';
	}
}

# ---- killed in the middle ----
for my $round (1 .. 4) {
	my $policy = (qw(always everysec os))[$round % 3];
	my $daemon = Hearth::Daemon->start(args => [@quiet, '--fsync', $policy]);
	my $n = 40000;
	fill($daemon, $n, $_, $value) for $user, $users;
	hearth('snapshot', $daemon->dir) if $round % 2;
	my $c = $daemon->client;
	my $admin = Hearth::Client->new(unix => $daemon->dir . '/admin.sock');
	$admin->put("drop 757365723a\n");
	my (%missed, $looked);
	my $end = 0.01 + rand 0.15;
	my $began = time;
	while (time < $began + $end) {
		my @keys = map { $user->(int rand $n) } 1 .. 20;
		my $items = $c->items("get @keys");
		$missed{$_} = 1 for grep { !$items->{$_} } @keys;
		$looked++;
	}
	$daemon->kill9;
	$daemon->up;
	$c = $daemon->client;
	my @back = grep { defined $c->get($_) } sort keys %missed;
	is("@back", '', "round $round, --fsync $policy: what was seen to be gone does not come back");
	my $left = present($daemon, $n, $user, $value);
	diag sprintf 'killed after %.0f ms: %d of %d left, %d seen to be gone', $end * 1000, $left, $n, scalar keys %missed;
	is(present($daemon, $n, $users, $value), $n, 'those of another prefix are there');
	is(dropped($daemon, 'user:')->{items}, $left, 'the rest goes with another one');
	$daemon->crash;
	is(present($daemon, $n, $user, $value), 0, 'and stays away');
}

# ---- what was evicted is on disk yet ----
{
	my $daemon = Hearth::Daemon->start(args => [@quiet, '-m', 16]);
	my $big = sub { "$_[0] " . 'v' x 2000 };
	fill($daemon, 6000, $user, $big);
	fill($daemon, 6000, $users, $big);
	cmp_ok($daemon->client->stats->{evictions}, '>', 1000, 'evictions');
	$daemon->client->ask("stats reset\r\n");
	my $told = dropped($daemon, 'user:');
	like($told->{snapshot}, qr/^snapshot-\d+$/, 'a snapshot was taken for what was evicted');
	$daemon->crash(args => [@quiet, '-m', 64]);
	is(present($daemon, 6000, $user, $big), 0, 'a start with more memory does not bring it back');
	cmp_ok(present($daemon, 6000, $users, $big), '>', 1000, 'others are there');
}

# ---- purge ----
# Whether any file of the directory has these bytes, snapshots unpacked; and what `hearth dump` finds of the prefix.
sub found
{
	my ($daemon, $prefix, $bytes) = @_;
	my @found;
	for my $file (glob $daemon->dir . '/*') {
		next unless -f $file;
		my $name = $file =~ s{.*/}{}r;
		my $text = slurp($file);
		$text .= (run(['zstd', '-q', '-d', '-c', $file]))[1] if $name =~ /^snapshot/;
		push @found, $name if index($text, $bytes) >= 0;
	}
	my ($code, $out) = hearth('dump', '--json', '--prefix', $prefix, $daemon->dir);
	is($code, 0, 'the directory can be read');
	return (join(' ', sort @found), scalar(() = $out =~ /\n/g));
}
for my $compress (0, 1) {
	my $daemon = Hearth::Daemon->start(args => [@quiet, '--keep', 3, $compress ? '--compress' : ()]);
	my $c = $daemon->client;
	my $secret = sub { "s3cr3t-$_[0]-" . join '', map { chr 97 + rand 26 } 1 .. 20 };
	fill($daemon, 500, $user, $secret);
	fill($daemon, 500, $users, $value);
	hearth('snapshot', $daemon->dir);
	fill($daemon, 100, $user, $secret);
	$c->ask("delete user:7\r\n");
	$c->set('user:soon', 's3cr3t', exptime => 1);
	hearth('snapshot', $daemon->dir);
	fill($daemon, 50, $user, $secret);
	select undef, undef, undef, 1.3;
	my ($files, $records) = found($daemon, 'user:', 's3cr3t');
	isnt($files, '', 'before: files have the values');
	cmp_ok($records, '>', 1000, 'and records');
	my ($code, $out, $err) = hearth('pin', $daemon->dir, 1);
	is($code, 0, 'pinned');
	($code, $out, $err) = drop($daemon, 'user:', '--purge');
	is($code, 75, 'a pinned snapshot is in the way');
	like($err, qr/nothing is dropped: snapshot 1 is pinned/, 'it is named');
	cmp_ok(present($daemon, 500, $user, sub { $c->get("user:$_[0]") }), '==', 500, 'nothing is dropped');
	hearth('unpin', $daemon->dir, 1);
	my $told = dropped($daemon, 'user:', '--purge');
	is($told->{items}, 500, 'dropped');
	ok($told->{purged}, 'purged');
	is_deeply([found($daemon, 'user:', 's3cr3t')], ['', 0], 'no file has a value, no record has a key');
	is_deeply([found($daemon, 'user:', 'user:')], ['', 0], 'nor has a file the bytes of a key') unless $compress;
	is(scalar(my @s = glob $daemon->dir . '/snapshot-*'), 1, 'one snapshot is left, whatever --keep says');
	$daemon->crash;
	is(present($daemon, 500, $user, $value), 0, 'killed: nothing is back');
	is(present($daemon, 500, $users, $value), 500, 'what has another prefix is there');
	is_deeply([found($daemon, 'user:', 's3cr3t')], ['', 0], 'nor is it in the files');
	($code, $out, $err) = hearth('check', $daemon->dir);
	is($code, 0, 'the directory is whole') or diag $out, $err;
	mkdir $daemon->dir . '/set-aside';
	open my $aside, '>', $daemon->dir . '/set-aside/log-0000000001.1' or die;
	close $aside;
	($code, $out, $err) = drop($daemon, 'user:', '--purge');
	is($code, 0, 'again');
	like($err, qr/set-aside\/log-0000000001\.1 was set aside/, 'what a recovery put aside is named');
}

# ---- one at a time; a tool that goes away; a daemon that stops ----
{
	my $daemon = Hearth::Daemon->start(args => \@quiet);
	fill($daemon, 60000, $user, $value);
	my @admin = map { Hearth::Client->new(unix => $daemon->dir . '/admin.sock') } 1 .. 2;
	$admin[0]->put("drop 757365723a\n");
	select undef, undef, undef, 0.01;
	$admin[1]->put("drop 757365723a\n");
	$admin[1]->fill;
	like($admin[1]{input}, qr/^(?:ERROR a drop is under way|OK 0)/, 'a second one is refused, or found nothing to do');
	$admin[0]->close;
	wait_until('the first one to end all the same', sub { present($daemon, 60000, $user, $value) == 0 });
	pass('who goes away stops nothing');
	fill($daemon, 60000, $user, $value);
	my $admin = Hearth::Client->new(unix => $daemon->dir . '/admin.sock');
	$admin->put("drop 757365723a\n");
	select undef, undef, undef, 0.02;
	is($daemon->stop, 0, 'TERM in the middle: it stops in order');
	my $rest = eval { $admin->rest } // '';
	my ($said) = $rest =~ /^OK (\d+)/m;
	$daemon->up;
	my $left = present($daemon, 60000, $user, $value);
	diag "stopped in the middle: $left left; told: " . ($rest =~ s/\n/ /gr);
	is($left, 0, 'what was told to be done is') if defined $said;
	is($daemon->stop, 0, 'stopped');
}

# ---- on a terminal it says how far it is ----
{
	my $daemon = Hearth::Daemon->start(args => \@quiet);
	my $c = $daemon->client;
	my $seen = 0;
	for my $try (1 .. 5) {
		fill($daemon, 100000, $user, $value);
		my $s = Hearth::Screen->run([program('hearth'), 'drop', '--prefix', 'user:', $daemon->dir], columns => 120);
		wait_until('it to begin', sub { $c->stats->{curr_items} < 100000 });
		# It is to be in the middle for longer than it takes until it speaks.
		kill 'STOP', $daemon->pid;
		select undef, undef, undef, 0.3;
		kill 'CONT', $daemon->pid;
		is($s->ended, 0, 'it ends');
		like($s->text, qr/^user:: 100000 items, \d+ bytes deleted\n\n*\z/, 'what is left is the result alone');
		last if $seen = $s->{raw} =~ /looked at \d+\.\d % of the keys, \d+ items, \d+ a second, \d+ s left/;
	}
	ok($seen, 'rate and time left');
}

# ---- a disk that fails ----
SKIP: {
	skip 'needs strace', 1 if sanitizer();
	my $daemon = Hearth::Daemon->start(args => \@quiet);
	fill($daemon, 100, $user, $value);
	my $dir = scratch_dir();
	my @paths = map { ('-P', sprintf '%s/log-%010d', $daemon->dir, $_) } 1 .. 30;
	my $pid = spawn(['strace', '-f', '-y', '-o', "$dir/trace", @paths, '-e', 'trace=write,writev,pwrite64,pwritev,fallocate', '-e',
		'inject=write,writev,pwrite64,pwritev,fallocate:error=ENOSPC', '-p', $daemon->pid], err => "$dir/err");
	wait_until('strace to attach', sub { -e "$dir/err" && slurp("$dir/err") =~ /attached/ });
	select undef, undef, undef, 0.2;
	eval { $daemon->client->set('filler', 'x') };
	wait_until('it to notice', sub { $daemon->client->stats('persist')->{state} ne 'healthy' }, 90);
	my ($code, $out, $err) = drop($daemon, 'user:');
	is($code, 74, 'on a full disk it is refused');
	like($err, qr/nothing is dropped: the disk fails or is full/, 'says why');
	is(present($daemon, 100, $user, $value), 100, 'nothing is deleted');
	is((drop($daemon, 'user:', '--dry-run'))[0], 0, 'counting goes on');
	kill 'TERM', $pid;
	reap($pid, 30);
	wait_until('it to get well', sub { $daemon->client->stats('persist')->{state} eq 'healthy' }, 120);
	is(dropped($daemon, 'user:')->{items}, 100, 'then it drops');
	$daemon->crash;
	is(present($daemon, 100, $user, $value), 0, 'for good');
}
done_testing();
