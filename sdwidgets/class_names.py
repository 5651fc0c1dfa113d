"""The classes of published datasets, in the order in which models were trained on them."""

from __future__ import annotations


def _names(listed: str) -> tuple[str, ...]:
    return tuple(" ".join(name.split()) for name in listed.split(";"))


# The 1,000 classes of ILSVRC 2012 ("ImageNet Large Scale Visual Recognition Challenge", Russakovsky
# et al., arXiv 1409.0575), each by the first of its names, or by one that no other class has.
IMAGENET = _names(
    """
tench; goldfish; great white shark; tiger shark; hammerhead; electric ray; stingray; cock; hen;
ostrich; brambling; goldfinch; house finch; junco; indigo bunting; robin; bulbul; jay; magpie;
chickadee; water ouzel; kite; bald eagle; vulture; great grey owl; European fire salamander; common
newt; eft; spotted salamander; axolotl; bullfrog; tree frog; tailed frog; loggerhead; leatherback
turtle; mud turtle; terrapin; box turtle; banded gecko; common iguana; American chameleon; whiptail;
agama; frilled lizard; alligator lizard; Gila monster; green lizard; African chameleon; Komodo
dragon; African crocodile; American alligator; triceratops; thunder snake; ringneck snake; hognose
snake; green snake; king snake; garter snake; water snake; vine snake; night snake; boa constrictor;
rock python; Indian cobra; green mamba; sea snake; horned viper; diamondback; sidewinder; trilobite;
harvestman; scorpion; black and gold garden spider; barn spider; garden spider; black widow;
tarantula; wolf spider; tick; centipede; black grouse; ptarmigan; ruffed grouse; prairie chicken;
peacock; quail; partridge; African grey; macaw; sulphur-crested cockatoo; lorikeet; coucal; bee
eater; hornbill; hummingbird; jacamar; toucan; drake; red-breasted merganser; goose; black swan;
tusker; echidna; platypus; wallaby; koala; wombat; jellyfish; sea anemone; brain coral; flatworm;
nematode; conch; snail; slug; sea slug; chiton; chambered nautilus; Dungeness crab; rock crab;
fiddler crab; king crab; American lobster; spiny lobster; crayfish; hermit crab; isopod; white
stork; black stork; spoonbill; flamingo; little blue heron; American egret; bittern; crane (bird);
limpkin; European gallinule; American coot; bustard; ruddy turnstone; red-backed sandpiper;
redshank; dowitcher; oystercatcher; pelican; king penguin; albatross; grey whale; killer whale;
dugong; sea lion; Chihuahua; Japanese spaniel; Maltese dog; Pekinese; Shih-Tzu; Blenheim spaniel;
papillon; toy terrier; Rhodesian ridgeback; Afghan hound; basset; beagle; bloodhound; bluetick;
black-and-tan coonhound; Walker hound; English foxhound; redbone; borzoi; Irish wolfhound; Italian
greyhound; whippet; Ibizan hound; Norwegian elkhound; otterhound; Saluki; Scottish deerhound;
Weimaraner; Staffordshire bullterrier; American Staffordshire terrier; Bedlington terrier; Border
terrier; Kerry blue terrier; Irish terrier; Norfolk terrier; Norwich terrier; Yorkshire terrier;
wire-haired fox terrier; Lakeland terrier; Sealyham terrier; Airedale; cairn; Australian terrier;
Dandie Dinmont; Boston bull; miniature schnauzer; giant schnauzer; standard schnauzer; Scotch
terrier; Tibetan terrier; silky terrier; soft-coated wheaten terrier; West Highland white terrier;
Lhasa; flat-coated retriever; curly-coated retriever; golden retriever; Labrador retriever;
Chesapeake Bay retriever; German short-haired pointer; vizsla; English setter; Irish setter; Gordon
setter; Brittany spaniel; clumber; English springer; Welsh springer spaniel; cocker spaniel; Sussex
spaniel; Irish water spaniel; kuvasz; schipperke; groenendael; malinois; briard; kelpie; komondor;
Old English sheepdog; Shetland sheepdog; collie; Border collie; Bouvier des Flandres; Rottweiler;
German shepherd; Doberman; miniature pinscher; Greater Swiss Mountain dog; Bernese mountain dog;
Appenzeller; EntleBucher; boxer; bull mastiff; Tibetan mastiff; French bulldog; Great Dane; Saint
Bernard; Eskimo dog; malamute; Siberian husky; dalmatian; affenpinscher; basenji; pug; Leonberg;
Newfoundland; Great Pyrenees; Samoyed; Pomeranian; chow; keeshond; Brabancon griffon; Pembroke;
Cardigan Welsh corgi; toy poodle; miniature poodle; standard poodle; Mexican hairless; timber wolf;
white wolf; red wolf; coyote; dingo; dhole; African hunting dog; hyena; red fox; kit fox; Arctic
fox; grey fox; tabby; tiger cat; Persian cat; Siamese cat; Egyptian cat; cougar; lynx; leopard; snow
leopard; jaguar; lion; tiger; cheetah; brown bear; American black bear; ice bear; sloth bear;
mongoose; meerkat; tiger beetle; ladybug; ground beetle; long-horned beetle; leaf beetle; dung
beetle; rhinoceros beetle; weevil; fly; bee; ant; grasshopper; cricket; walking stick; cockroach;
mantis; cicada; leafhopper; lacewing; dragonfly; damselfly; admiral; ringlet; monarch; cabbage
butterfly; sulphur butterfly; lycaenid; starfish; sea urchin; sea cucumber; wood rabbit; hare;
Angora; hamster; porcupine; fox squirrel; marmot; beaver; guinea pig; sorrel; zebra; hog; wild boar;
warthog; hippopotamus; ox; water buffalo; bison; ram; bighorn; ibex; hartebeest; impala; gazelle;
Arabian camel; llama; weasel; mink; polecat; black-footed ferret; otter; skunk; badger; armadillo;
three-toed sloth; orangutan; gorilla; chimpanzee; gibbon; siamang; guenon; patas; baboon; macaque;
langur; colobus; proboscis monkey; marmoset; capuchin; howler monkey; titi; spider monkey; squirrel
monkey; Madagascar cat; indri; Indian elephant; African elephant; lesser panda; giant panda;
barracouta; eel; coho; rock beauty; anemone fish; sturgeon; gar; lionfish; puffer; abacus; abaya;
academic gown; accordion; acoustic guitar; aircraft carrier; airliner; airship; altar; ambulance;
amphibian; analog clock; apiary; apron; ashcan; assault rifle; backpack; bakery; balance beam;
balloon; ballpoint; Band Aid; banjo; bannister; barbell; barber chair; barbershop; barn; barometer;
barrel; barrow; baseball; basketball; bassinet; bassoon; bathing cap; bath towel; bathtub; beach
wagon; beacon; beaker; bearskin; beer bottle; beer glass; bell cote; bib; bicycle-built-for-two;
bikini; binder; binoculars; birdhouse; boathouse; bobsled; bolo tie; bonnet; bookcase; bookshop;
bottlecap; bow; bow tie; brass; brassiere; breakwater; breastplate; broom; bucket; buckle;
bulletproof vest; bullet train; butcher shop; cab; caldron; candle; cannon; canoe; can opener;
cardigan; car mirror; carousel; carpenter's kit; carton; car wheel; cash machine; cassette; cassette
player; castle; catamaran; CD player; cello; cellular telephone; chain; chainlink fence; chain mail;
chain saw; chest; chiffonier; chime; china cabinet; Christmas stocking; church; cinema; cleaver;
cliff dwelling; cloak; clog; cocktail shaker; coffee mug; coffeepot; coil; combination lock;
computer keyboard; confectionery; container ship; convertible; corkscrew; cornet; cowboy boot;
cowboy hat; cradle; crane (machine); crash helmet; crate; crib; Crock Pot; croquet ball; crutch;
cuirass; dam; desk; desktop computer; dial telephone; diaper; digital clock; digital watch; dining
table; dishrag; dishwasher; disk brake; dock; dogsled; dome; doormat; drilling platform; drum;
drumstick; dumbbell; Dutch oven; electric fan; electric guitar; electric locomotive; entertainment
center; envelope; espresso maker; face powder; feather boa; file; fireboat; fire engine; fire
screen; flagpole; flute; folding chair; football helmet; forklift; fountain; fountain pen;
four-poster; freight car; French horn; frying pan; fur coat; garbage truck; gasmask; gas pump;
goblet; go-kart; golf ball; golfcart; gondola; gong; gown; grand piano; greenhouse; grille; grocery
store; guillotine; hair slide; hair spray; half track; hammer; hamper; hand blower; hand-held
computer; handkerchief; hard disc; harmonica; harp; harvester; hatchet; holster; home theater;
honeycomb; hook; hoopskirt; horizontal bar; horse cart; hourglass; iPod; iron; jack-o'-lantern;
jean; jeep; jersey; jigsaw puzzle; jinrikisha; joystick; kimono; knee pad; knot; lab coat; ladle;
lampshade; laptop; lawn mower; lens cap; letter opener; library; lifeboat; lighter; limousine;
liner; lipstick; Loafer; lotion; loudspeaker; loupe; lumbermill; magnetic compass; mailbag; mailbox;
maillot; maillot, tank suit; manhole cover; maraca; marimba; mask; matchstick; maypole; maze;
measuring cup; medicine chest; megalith; microphone; microwave; military uniform; milk can; minibus;
miniskirt; minivan; missile; mitten; mixing bowl; mobile home; Model T; modem; monastery; monitor;
moped; mortar; mortarboard; mosque; mosquito net; motor scooter; mountain bike; mountain tent;
mouse; mousetrap; moving van; muzzle; nail; neck brace; necklace; nipple; notebook; obelisk; oboe;
ocarina; odometer; oil filter; organ; oscilloscope; overskirt; oxcart; oxygen mask; packet; paddle;
paddlewheel; padlock; paintbrush; pajama; palace; panpipe; paper towel; parachute; parallel bars;
park bench; parking meter; passenger car; patio; pay-phone; pedestal; pencil box; pencil sharpener;
perfume; Petri dish; photocopier; pick; pickelhaube; picket fence; pickup; pier; piggy bank; pill
bottle; pillow; ping-pong ball; pinwheel; pirate; pitcher; plane; planetarium; plastic bag; plate
rack; plow; plunger; Polaroid camera; pole; police van; poncho; pool table; pop bottle; pot;
potter's wheel; power drill; prayer rug; printer; prison; projectile; projector; puck; punching bag;
purse; quill; quilt; racer; racket; radiator; radio; radio telescope; rain barrel; recreational
vehicle; reel; reflex camera; refrigerator; remote control; restaurant; revolver; rifle; rocking
chair; rotisserie; rubber eraser; rugby ball; rule; running shoe; safe; safety pin; saltshaker;
sandal; sarong; sax; scabbard; scale; school bus; schooner; scoreboard; screen; screw; screwdriver;
seat belt; sewing machine; shield; shoe shop; shoji; shopping basket; shopping cart; shovel; shower
cap; shower curtain; ski; ski mask; sleeping bag; slide rule; sliding door; slot; snorkel;
snowmobile; snowplow; soap dispenser; soccer ball; sock; solar dish; sombrero; soup bowl; space bar;
space heater; space shuttle; spatula; speedboat; spider web; spindle; sports car; spotlight; stage;
steam locomotive; steel arch bridge; steel drum; stethoscope; stole; stone wall; stopwatch; stove;
strainer; streetcar; stretcher; studio couch; stupa; submarine; suit; sundial; sunglass; sunglasses;
sunscreen; suspension bridge; swab; sweatshirt; swimming trunks; swing; switch; syringe; table lamp;
tank; tape player; teapot; teddy; television; tennis ball; thatch; theater curtain; thimble;
thresher; throne; tile roof; toaster; tobacco shop; toilet seat; torch; totem pole; tow truck;
toyshop; tractor; trailer truck; tray; trench coat; tricycle; trimaran; tripod; triumphal arch;
trolleybus; trombone; tub; turnstile; typewriter keyboard; umbrella; unicycle; upright; vacuum;
vase; vault; velvet; vending machine; vestment; viaduct; violin; volleyball; waffle iron; wall
clock; wallet; wardrobe; warplane; washbasin; washer; water bottle; water jug; water tower; whiskey
jug; whistle; wig; window screen; window shade; Windsor tie; wine bottle; wing; wok; wooden spoon;
wool; worm fence; wreck; yawl; yurt; web site; comic book; crossword puzzle; street sign; traffic
light; book jacket; menu; plate; guacamole; consomme; hot pot; trifle; ice cream; ice lolly; French
loaf; bagel; pretzel; cheeseburger; hotdog; mashed potato; head cabbage; broccoli; cauliflower;
zucchini; spaghetti squash; acorn squash; butternut squash; cucumber; artichoke; bell pepper;
cardoon; mushroom; Granny Smith; strawberry; orange; lemon; fig; pineapple; banana; jackfruit;
custard apple; pomegranate; hay; carbonara; chocolate sauce; dough; meat loaf; pizza; potpie;
burrito; red wine; espresso; cup; eggnog; alp; bubble; cliff; coral reef; geyser; lakeside;
promontory; sandbar; seashore; valley; volcano; ballplayer; groom; scuba diver; rapeseed; daisy;
yellow lady's slipper; corn; acorn; hip; buckeye; coral fungus; agaric; gyromitra; stinkhorn;
earthstar; hen-of-the-woods; bolete; ear; toilet tissue
"""
)

# The 182 classes of COCO-Stuff ("COCO-Stuff: Thing and Stuff Classes in Context", Caesar et al.,
# arXiv 1612.03716; CC BY 4.0), without "unlabeled". Eleven of the things never occur.
COCO_STUFF = _names(
    """
person; bicycle; car; motorcycle; airplane; bus; train; truck; boat; traffic light; fire hydrant;
street sign; stop sign; parking meter; bench; bird; cat; dog; horse; sheep; cow; elephant; bear;
zebra; giraffe; hat; backpack; umbrella; shoe; eye glasses; handbag; tie; suitcase; frisbee; skis;
snowboard; sports ball; kite; baseball bat; baseball glove; skateboard; surfboard; tennis racket;
bottle; plate; wine glass; cup; fork; knife; spoon; bowl; banana; apple; sandwich; orange; broccoli;
carrot; hot dog; pizza; donut; cake; chair; couch; potted plant; bed; mirror; dining table; window;
desk; toilet; door; tv; laptop; mouse; remote; keyboard; cell phone; microwave; oven; toaster; sink;
refrigerator; blender; book; clock; vase; scissors; teddy bear; hair drier; toothbrush; hair brush;
banner; blanket; branch; bridge; building-other; bush; cabinet; cage; cardboard; carpet;
ceiling-other; ceiling-tile; cloth; clothes; clouds; counter; cupboard; curtain; desk-stuff; dirt;
door-stuff; fence; floor-marble; floor-other; floor-stone; floor-tile; floor-wood; flower; fog;
food-other; fruit; furniture-other; grass; gravel; ground-other; hill; house; leaves; light; mat;
metal; mirror-stuff; moss; mountain; mud; napkin; net; paper; pavement; pillow; plant-other;
plastic; platform; playingfield; railing; railroad; river; road; rock; roof; rug; salad; sand; sea;
shelf; sky-other; skyscraper; snow; solid-other; stairs; stone; straw; structural-other; table;
tent; textile-other; towel; tree; vegetable; wall-brick; wall-concrete; wall-other; wall-panel;
wall-stone; wall-tile; wall-wood; water-other; waterdrops; window-blind; window-other; wood
"""
)

# The 340 classes of boxes in Open Images ("The Open Images Dataset V4", Kuznetsova et al., arXiv
# 1811.00982; CC BY 4.0) that the transformers of scenes were trained on: its commonest classes and
# those that COCO has, in the order of their identifiers ("High-Resolution Complex Scene Synthesis
# with Transformers", Jahn et al., arXiv 2105.06458).
OPEN_IMAGES = _names(
    """
tortoise; sea turtle; toothbrush; sink; toy; apple; human eye; cosmetics; paddle; beer; human beard;
bird; parking meter; traffic light; cucumber; doll; skull; sunglasses; cart; ball; backpack;
bicycle; home appliance; boat; surfboard; fast food; boot; headphones; hot dog; shorts; bus; bicycle
wheel; laptop; dress; bear; bagel; tower; person; swimwear; brassiere; bee; balloon; tent; vehicle
registration plate; lantern; toaster; billboard; necklace; carnivore; scissors; stairs; computer
keyboard; traffic sign; chair; shirt; poster; cheese; sock; fire hydrant; land vehicle; earrings;
tie; watercraft; cabinetry; muffin; snack; clock; camel; medical equipment; cattle; cello; coat;
suit; desk; cat; bronze sculpture; juice; gondola; beetle; cannon; computer mouse; cookie; office
building; fountain; coin; cocktail; computer monitor; box; christmas tree; cowboy hat; hiking
equipment; studio couch; drum; dessert; drink; zucchini; human mouth; dairy product; oven; dinosaur;
goggles; couch; whiteboard; door; hat; fedora; scarf; dolphin; tin can; mug; harbor seal; human
body; roller skates; coffee cup; stop sign; office supplies; vase; coffee; food; sun hat; flying
disc; skirt; fruit; french fries; barrel; kite; flag; french horn; human foot; jacket; egg (food);
street light; guitar; pillow; human leg; grape; human ear; bookcase; panda; giraffe; goldfish;
houseplant; goat; baseball bat; baseball glove; marine invertebrates; house; horse; sandal; bicycle
helmet; saucer; human hair; curtain; bed; insect; hair dryer; invertebrate; refrigerator; fashion
accessory; motorcycle; table; tableware; knife; bottle; lavender (plant); lighthouse; human head;
bowl; porch; lizard; musical instrument; bust; plate; mobile phone; baked goods; mushroom; mirror;
personal flotation device; musical keyboard; chest of drawers; ostrich; piano; plant; sports
equipment; penguin; pumpkin; pear; polar bear; cupboard; pizza; pig; snowboard; skateboard; rifle;
high heels; rose; rabbit; sculpture; saxophone; seafood; picture frame; sushi; ski; squirrel;
tripod; snake; coffee table; skyscraper; sheep; television; tea; tank; tiger; strawberry; trumpet;
tree; tomato; train; tool; trousers; football helmet; truck; violin; vehicle; handbag; wine; weapon;
wheel; zebra; auto part; monkey; lion; bread; platter; chicken; eagle; helicopter; owl; duck;
crocodile; toilet; clothing; footwear; lemon; spider; deer; frog; banana; wine glass; oyster;
countertop; swimming pool; waste container; dog; book; elephant; shark; candle; flower; furniture;
palm tree; hamburger; maple; building; fish; airplane; spoon; convenience store; bench; ice cream;
butterfly; parachute; orange; antelope; window; castle; jellyfish; moths and butterflies; goose;
mule; swan; fork; lamp; camera; human face; human arm; vegetable; falcon; snail; shellfish; carrot;
jeans; flowerpot; drawer; stool; cake; dragonfly; common sunflower; microwave oven; marine mammal;
sea lion; ladybug; shelf; watch; candy; salad; parrot; sparrow; van; sports uniform; tennis racket;
kitchen & dining room table; bathroom accessory; kitchen appliance; tire; luggage and bags;
microphone; broccoli; umbrella; pastry; grapefruit; animal; lily; doughnut; glasses; human nose;
pen; car; aircraft; human hand; teddy bear; sandwich; shrimp; crab; taxi; canoe; remote control;
wheelchair; helmet; suitcase
"""
)
