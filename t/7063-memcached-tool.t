#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Each verb of memcached-tool on Hearth and on the memcached it comes with: the same exit code, messages and shape, and where
# they speak of items the same items.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(run);
use Test::More;

my $tool = '/usr/share/memcached/scripts/memcached-tool';
plan skip_all => "no $tool" unless -x $tool;

my %server = (hearth => Hearth::Daemon->start, memcached => Hearth::Daemon->start(program => '/usr/bin/memcached'));
my $expiry = time + 1000;
for my $server (values %server) {
	my $c = $server->client;
	$c->set("key$_", 'x' x ($_ * 20), flags => $_, exptime => $expiry) for 1 .. 50;
	$c->set("odd+%\xff", "a\nb");
	is($c->ask("ms AQID 3 b\r\nabc\r\n"), 'HD', 'a binary key');
	$c->get("key$_") for 1 .. 10;
}

# Exit code, output, messages of a verb on both; the addresses are made one.
sub both
{
	my (@verb) = @_;
	return map {
		my ($code, $out, $err) = run([$tool, '127.0.0.1:' . $server{$_}->port, @verb], seconds => 30);
		s/127\.0\.0\.1:\d+/ADDRESS/g for $out, $err;
		{ code => $code, out => $out, err => $err };
	} qw(hearth memcached);
}

sub alike
{
	my ($hearth, $memcached, $verb) = @_;
	is($hearth->{code}, $memcached->{code}, "$verb: exit code");
	is($hearth->{err}, $memcached->{err}, "$verb: messages");
	return;
}

# name => value of the lines of stats and settings.
sub rows { my ($out) = @_; return { map { /^\s*(\S+)\s+(.*?)\s*$/ ? ($1 => $2) : () } grep { !/^#/ } split /\n/, $out }; }

for my $verb ('display', '') {
	my ($h, $m) = both($verb || ());
	alike($h, $m, "'$verb'");
	my ($head, @rows) = split /\n/, $h->{out};
	is($head, (split /\n/, $m->{out})[0], 'the same head');
	my $row = qr/^\s*\d+\s+[\d.]+[BKMG]\s+\d+s\s+\d+\s+(\d+)\s+(?:yes|no)\s+\d+\s+\d+\s+\d+\s*$/m;
	is(scalar(grep { !/$row/ } grep { /\S/ } @rows), 0, 'rows of the same form');
	my %count = map { my $out = $_->{out}; my $n = 0; $n += $1 while $out =~ /$row/mg; ($_ => $n) } $h, $m;
	is($count{$h}, 52, 'which add up to all items');
	is($count{$m}, 52, 'as there');
}

for my $verb (qw(stats settings)) {
	my ($h, $m) = both($verb);
	alike($h, $m, $verb);
	is((split /\n/, $h->{out})[0], (split /\n/, $m->{out})[0], 'the same head');
	my ($hr, $mr) = (rows($h->{out}), rows($m->{out}));
	cmp_ok(scalar keys %$hr, '>', 40, 'many rows');
	# What speaks of slab pages, of flash, of TLS and of proxies has nothing in Hearth that it could speak of.
	my %own = map { $_ => 1 } qw(lru_bumps_dropped slab_global_page_pool);
	my @missing = grep { !exists $hr->{$_} && !$own{$_} && !/^(?:ext_|ssl_|slab|log_worker|unexpected_napi|round_robin)/ } sort keys %$mr;
	is("@missing", '', "$verb: no row of memcached's is missing");
	next if $verb ne 'stats';
	is($hr->{$_}, $mr->{$_}, "$_ is the same") for qw(curr_items total_items cmd_set get_hits cmd_get);
}

# The items, in any order: line with the key, and what follows it.
for my $verb (['dump'], ['keys']) {
	my ($h, $m) = both(@$verb);
	alike($h, $m, "@$verb");
	if ($verb->[0] eq 'dump') {
		my @sets = map { +{ $_->{out} =~ /^(add [^\r\n]*)\r?\n(.*?)\r?\n(?=add |\s*\z)/msg } } $h, $m;
		is_deeply($sets[0], $sets[1], 'the same items');
		is($sets[0]{"add key7 7 $expiry 140"}, 'x' x 140, 'with their values');
		is(() = $h->{out} =~ / $expiry /g, 50, 'with their expiry');
	} else {
		my @keys = map { join ' ', sort $_->{out} =~ /^key=(\S+) /mg } $h, $m;
		is($keys[0], $keys[1], 'the same keys');
		is(scalar(my @n = split / /, $keys[0]), 52, 'all of them');
		my @fields = map { join ' ', sort { $a cmp $b } ($_->{out} =~ /^(key=key1 .*)$/m)[0] =~ /(\w+)=/g } $h, $m;
		is($fields[0] =~ s/flags //r, $fields[1] =~ s/flags //r, 'the same fields, but for those of later versions');
	}
}
# Since 1.6.45 the list begins with an OK, as Hearth's does; the tool of this version counts it as one of the lines.
for my $n (1, 3) {
	my ($h, $m) = both('keys', $n);
	alike($h, $m, "keys $n");
	is(() = $h->{out} =~ /^key=/mg, $n - 1, 'as many as asked for, with the OK');
	is(() = $m->{out} =~ /^key=/mg, $n, 'as there');
	($h, $m) = both('dump', $n);
	alike($h, $m, "dump $n");
	is(() = $h->{out} =~ /^add /mg, $n - 1, 'as many as asked for, with the OK');
}

# memcached-tool asks no server for some of this; what it asks for must not confuse it.
for my $verb (['sizes'], ['move', 6, 7], ['move', 1, 2], ['keys', 0], ['bogus']) {
	my ($h, $m) = both(@$verb);
	alike($h, $m, "@$verb");
	next if $verb->[0] eq 'move';
	is($h->{out}, $m->{out}, "@$verb: output");
}
is($_->stop, 0, 'stops in order') for values %server;
done_testing();
