/* Letters and the marks behind them made one character, as NFC wants it (UAX #15): what keyboards and file systems
 * write in two, in the scripts that have it. Generated from Unicode's data, small letters only. */
#include "job/job_internal.h"

/* Pairs: a letter, and what it becomes with the mark. */
static const struct {
	uint32_t mark;
	const char *pairs;
} marks[] = {
	{0x0300, "aàeèiìoòuùüǜnǹеѐиѝēḕōṑwẁâầăằêềôồơờưừyỳ"},
	{0x0301, "aáeéiíoóuúyýcćlĺnńrŕsśzźüǘgǵåǻæǽøǿϊΐαάεέηήιίϋΰοόυύωώϒϓгѓкќçḉ"
		 "ēḗïḯkḱmḿõṍōṓpṕũṹwẃâấăắêếôốơớưứ"},
	{0x0302, "aâeêiîoôuûcĉgĝhĥjĵsŝwŵyŷzẑạậẹệọộ"},
	{0x0303, "aãnñoõiĩuũvṽâẫăẵeẽêễôỗơỡưữyỹ"},
	{0x0304, "aāeēiīoōuūüǖäǟȧǡæǣǫǭöȫõȭȯȱyȳиӣуӯgḡḷḹṛṝ"},
	{0x0306, "aăeĕgğiĭoŏuŭийуўжӂаӑеӗȩḝạặ"},
	{0x0307, "cċeėgġzżaȧoȯbḃdḋfḟhḣmṁnṅpṗrṙsṡśṥšṧṣṩtṫwẇxẋyẏ"},
	{0x0308, "aäeëiïoöuüyÿιϊυϋϒϔеёіїаӓәӛжӝзӟиӥоӧөӫэӭуӱчӵыӹhḧõṏūṻwẅxẍtẗ"},
	{0x0309, "aảâẩăẳeẻêểiỉoỏôổơởuủưửyỷ"},
	{0x030A, "aåuůwẘyẙ"},
	{0x030B, "oőuűуӳ"},
	{0x030C, "cčdďeělľnňrřsštťzžaǎiǐoǒuǔüǚgǧkǩʒǯjǰhȟ"},
	{0x030F, "aȁeȅiȉoȍrȑuȕѵѷ"},
	{0x0311, "aȃeȇiȋoȏrȓuȗ"},
	{0x031B, "oơuư"},
	{0x0323, "bḅdḍhḥkḳlḷmṃnṇrṛsṣtṭvṿwẉzẓaạeẹiịoọơợuụưựyỵ"},
	{0x0324, "uṳ"},
	{0x0325, "aḁ"},
	{0x0326, "sștț"},
	{0x0327, "cçgģkķlļnņrŗsştţeȩdḑhḩ"},
	{0x0328, "aąeęiįuųoǫ"},
	{0x032D, "dḓeḙlḽnṋtṱuṷ"},
	{0x032E, "hḫ"},
	{0x0330, "eḛiḭuṵ"},
	{0x0331, "bḇdḏkḵlḻnṉrṟtṯzẕhẖ"},
	{0x3099, "かがきぎくぐけげこごさざしじすずせぜそぞただちぢつづてでとどはばひびふぶへべほぼうゔゝゞカ"
		 "ガキギクグケゲコゴサザシジスズ"
		 "セゼソゾタダチヂツヅテデトドハバヒビフブヘベホボウヴワヷヰヸヱヹヲヺヽヾ"},
	{0x309A, "はぱひぴふぷへぺほぽハパヒピフプヘペホポ"},
};

/* The next character of well-formed UTF-8. */
uint32_t job_next_char(struct str *s)
{
	unsigned char first = (unsigned char)*s->ptr;
	size_t len = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
	uint32_t c = len == 1 ? first : first & (0x7Fu >> len);

	for (size_t i = 1; i < len; i++)
		c = c << 6 | ((unsigned char)s->ptr[i] & 0x3F);
	s->ptr += len;
	s->len -= len;
	return c;
}

/* Unicode section 3.12: syllables from a leading consonant, a vowel and a trailing consonant. */
static uint32_t compose_hangul(uint32_t a, uint32_t b)
{
	enum { S = 0xAC00, L = 0x1100, V = 0x1161, T = 0x11A7, LS = 19, VS = 21, TS = 28 };

	if (a >= L && a < L + LS && b >= V && b < V + VS) return S + ((a - L) * VS + (b - V)) * TS;
	if (a >= S && a < S + LS * VS * TS && (a - S) % TS == 0 && b > T && b < T + TS) return a + (b - T);
	return 0;
}

uint32_t job_compose(uint32_t a, uint32_t b)
{
	for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
		struct str s = str_from(marks[i].pairs);

		while (marks[i].mark == b && s.len > 0) {
			uint32_t letter = job_next_char(&s), whole = job_next_char(&s);

			if (letter == a) return whole;
		}
	}
	return compose_hangul(a, b);
}
