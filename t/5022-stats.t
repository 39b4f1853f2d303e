#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# stats: memcached's names, so that exporters and dashboards go on working, values that are single words, and figures
# that count what was done.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Test::More;

my $hearth = Hearth::Daemon->start(args => ['-m', 64]);
my $memcached = Hearth::Daemon->start(program => '/usr/bin/memcached', args => ['-m', 64]);

# Names of 1.6.18 that Hearth need not have, by pattern: they belong to parts it does not consist of, or went later.
my %left_out = (
	'' => qr/^(?:slab_|slabs_moved|lru_|lrutail_|log_w|moves_|round_robin_fallback|unexpected_napi_ids|read_buf_
		|response_obj_|crawler_|direct_reclaims|evicted_active|hash_power_level|reserved_fds|libevent|extstore)/x,
	settings => qr/^(?:ext_|ssl_|slab_|lru_|hot_|warm_|temp|num_napi_ids|worker_logbuf|watcher_logbuf|read_buf_mem
		|hashpower_init|tail_repair|chunk_size|memory_file|resp_obj|track_sizes|inline_ascii|stat_key_prefix)/x,
);

sub words_only
{
	my ($what) = @_;
	my $c = $hearth->client;
	my @bad = grep { !/^STAT \S+ \S+$/ } split /\r\n/, $c->stream('stats' . ($what ? " $what" : '') . "\r\n");
	is(join('|', @bad), 'END', "stats $what: lines of three words, then END");
	return;
}

my $h = $hearth->client;
my $m = $memcached->client;
for my $c ($h, $m) {
	$c->set('a', 1, flags => 3);
	$c->ask("incr a 1\r\n");
	$c->ask("decr a 1\r\n");
	$c->ask("incr nope 1\r\n");
	$c->ask("touch a 100\r\n");
	$c->ask("touch nope 100\r\n");
	$c->items('gat 100 a nope');
	$c->items('get a nope nope2');
	my $cas = $c->gets('a')->{cas};
	$c->store('cas', 'a', 2, cas => $cas);
	$c->store('cas', 'a', 2, cas => $cas);
	$c->store('cas', 'nope', 2, cas => $cas);
	$c->store('add', 'b', 'x' x 100);
	$c->store('replace', 'nope', 1);
	$c->ask("delete nope\r\n");
	$c->ask("delete b\r\n");
	$c->set('c' . $_, 1) for 1 .. 10;
	$c->set('big', 'x' x 2_000_000);
}
for my $what ('', 'settings', 'items', 'slabs', 'conns', 'persist') {
	words_only($what);
}
for my $what ('', 'settings') {
	my ($ours, $theirs) = ($h->stats($what), $m->stats($what));
	my $left_out = $left_out{$what};
	my @missing = grep { !exists $ours->{$_} && $_ !~ $left_out } sort keys %$theirs;
	is("@missing", '', "stats $what has memcached's names");
	my @own = grep { !exists $theirs->{$_} } sort keys %$ours;
	is("@own", '', "stats $what has no others") if $what eq '';
}
my ($ours, $theirs) = ($h->stats, $m->stats);
my @counted = qw(cmd_get cmd_set cmd_flush cmd_touch get_hits get_misses delete_hits delete_misses incr_hits incr_misses
    decr_hits decr_misses cas_hits cas_misses cas_badval touch_hits touch_misses curr_items total_items evictions
    pointer_size limit_maxbytes curr_connections rejected_connections accepting_conns threads store_too_large);
is($ours->{$_}, $theirs->{$_}, "$_ as memcached counts") for @counted;
like($ours->{$_}, qr/^\d+\.\d{6}$/, "$_ is s.uuuuuu") for qw(rusage_user rusage_system);
is($ours->{version}, '1.6.45', 'version is the protocol level');
is($ours->{pid}, $hearth->pid, 'pid is the daemon\'s');
cmp_ok(abs($ours->{time} - time), '<', 5, 'time is the time');
cmp_ok($ours->{bytes}, '>', 11, 'bytes are counted');
is($h->stats('settings')->{$_}, $m->stats('settings')->{$_}, "settings: $_") for qw(maxbytes maxconns evictions num_threads
    item_size_max cas_enabled flush_enabled tcp_backlog detail_enabled udpport);
is($h->stats('settings')->{tcpport}, $hearth->port, 'settings: tcpport');

my $items = $h->stats('items');
my ($class) = map { /^items:(\d+):number$/ } keys %$items;
is($items->{"items:$class:number"}, $ours->{curr_items}, 'stats items: one class with all items');
my $slabs = $h->stats('slabs');
ok(exists $slabs->{active_slabs} && exists $slabs->{total_malloced}, 'stats slabs: the totals exporters ask for');
is(scalar(keys %{ { map { /^(\d+):/ ? ($1 => 1) : () } keys %$slabs } }), 1, 'stats slabs: one class');
my $conns = $h->stats('conns');
cmp_ok(scalar(grep { /:addr$/ } keys %$conns), '>=', 2, 'stats conns: a listener and this connection');

# What prometheus' memcached exporter reads: without one of the first it fails, without one of the others a graph is empty.
my %exporter = (
	'' => [qw(uptime time version rusage_user rusage_system bytes_read bytes_written curr_connections total_connections
	    rejected_connections conn_yields listen_disabled_num curr_items total_items bytes limit_maxbytes evictions reclaimed
	    lru_crawler_starts crawler_reclaimed crawler_items_checked moves_to_cold moves_to_warm moves_within_lru malloc_fails
	    cmd_get cmd_set cmd_touch cmd_flush get_hits get_misses get_expired get_flushed delete_hits delete_misses incr_hits
	    incr_misses decr_hits decr_misses cas_hits cas_misses cas_badval touch_hits touch_misses store_too_large
	    store_no_memory direct_reclaims expired_unfetched evicted_unfetched evicted_active threads accepting_conns)],
	settings => [qw(maxconns lru_crawler lru_crawler_sleep lru_crawler_tocrawl lru_maintainer_thread hot_lru_pct warm_lru_pct
	    hot_max_factor warm_max_factor temp_lru temporary_ttl item_size_max)],
	items => [map { "items:$class:$_" } qw(number age evicted evicted_nonzero evicted_time evicted_unfetched outofmemory
	    tailrepairs reclaimed expired_unfetched crawler_reclaimed crawler_items_checked lrutail_reflocked mem_requested
	    number_hot number_warm number_cold age_hot age_warm hits_to_hot hits_to_warm hits_to_cold hits_to_temp moves_to_cold
	    moves_to_warm moves_within_lru direct_reclaims)],
	slabs => ['active_slabs', 'total_malloced', map { "$class:$_" } qw(chunk_size chunks_per_page total_pages total_chunks
	    used_chunks free_chunks free_chunks_end get_hits cmd_set delete_hits incr_hits decr_hits cas_hits cas_badval touch_hits)],
);
for my $what (sort keys %exporter) {
	my $stats = $h->stats($what);
	is(join(' ', grep { !exists $stats->{$_} } @{ $exporter{$what} }), '', "stats $what has what the exporter reads");
	my @wrong = grep { ($stats->{$_} // '') !~ /^\S+$/ } @{ $exporter{$what} };
	is("@wrong", '', 'three words a line');
}
my $settings = $h->stats('settings');
is(join(' ', grep { $settings->{$_} !~ /^(?:yes|no)$/ } qw(lru_crawler lru_maintainer_thread temp_lru flush_enabled cas_enabled
    maxconns_fast slab_reassign)), '', 'what is on or off is yes or no');

my $persist = $h->stats('persist');
cmp_ok(scalar keys %$persist, '>=', 15, 'stats persist has figures');
is($h->stats->{cmd_set}, $ours->{cmd_set}, 'which move no counter');
is($h->ask("stats reset\r\n"), 'RESET', 'stats reset');
is($h->stats->{$_}, 0, "$_ begins again") for qw(get_hits cmd_set total_items);
cmp_ok($h->stats->{curr_items}, '>', 0, 'items stay');
like($hearth->client->stream("stats \r\n"), qr/\ASTAT .*END\r\n\z/s, 'a trailing space');
like($hearth->client->stream("stats r\r\nversion\r\n"), qr/VERSION/, 'no sub-command is matched by its first letter');
is($hearth->client->stats->{curr_items}, $ours->{curr_items}, 'and nothing was reset');

# Counters do not move while loading.
$hearth->crash;
$h = $hearth->client;
is($h->stats->{curr_items}, $ours->{curr_items}, 'after kill -9 the items are there');
is($h->stats->{$_}, 0, "$_ counts from the start") for qw(cmd_set total_items evictions get_hits);
$h->ask("flush_all\r\n");
$h->set('flushed', 1);
my $before = $h->stats->{reclaimed};
$h->ask("flush_all\r\n");
$h->set('flushed', 2);
is($h->stats->{reclaimed}, $before + 1, 'what a flush killed is reclaimed when its key is set');
is($hearth->stop, 0, 'stops in order');
done_testing();
